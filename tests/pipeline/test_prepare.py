from fer.config.data import PrepareConfig
from fer.pipeline.prepare import prepare_sets


def test_on_a_second_machine_of_a_training_sets_are_prepared_without_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, value in {"RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    made = prepare_sets(PrepareConfig(dataset="drawn-wikimedia", data_root=str(tmp_path / "data"), scale=0.05))
    assert made.prepared["drawn-wikimedia"].manifest.images
    assert made.run_id == ""
    assert not (tmp_path / "mlflow.db").exists()
