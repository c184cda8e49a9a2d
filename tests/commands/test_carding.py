from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
import yaml

from fer.card.page import headline
from fer.cli import main
from fer.commands.carding import code_in_words
from fer.tracking.environment import CodeVersion
from tests import stores


@pytest.fixture(scope="module")
def trained(prepared, empty_store, tmp_path_factory) -> SimpleNamespace:
    """A short training on drawn faces that stand for RAF-DB, its run, and the champion as MLflow downloads it."""
    root, _ = prepared
    folder = tmp_path_factory.mktemp("trained")
    options = {
        "dataset": "raf", "data_root": root, "arch": "squeezenet1_1", "init": "scratch", "image_size": 32, "epochs": 1,
        "batch_size": 16, "output": folder / "outputs", "registered_name": "fer-test",
    }  # fmt: skip
    address = stores.copy(empty_store, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", address)
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        mlflow.set_tracking_uri(None)
        main(["finetune", *(str(word) for key, value in options.items() for word in (f"--{key}", value))])
        mlflow.set_registry_uri(address)
        model = Path(mlflow.artifacts.download_artifacts("models:/fer-test@champion", dst_path=str(folder / "model")))
        client = mlflow.MlflowClient(address, registry_uri=address)
        run = client.get_run(client.get_model_version("fer-test", "1").run_id)
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    return SimpleNamespace(model=model, run=run, card=(model / "README.md").read_text(encoding="utf-8"))


def test_the_registered_model_brings_a_card_with_the_runs_figures(trained):
    figures = trained.run.data.metrics
    rows = [line.strip("| ").split("|") for line in headline(trained.card).splitlines()[2:]]
    table = {row[0].strip(): row[2].strip() for row in rows}
    assert {"raf", "kdef", "wikimedia", "kdef/frontal", "raf/uniform_prior"} <= table.keys()
    for name, shown in table.items():
        accuracy, low, high = (100 * figures[f"{name}/accuracy{end}"] for end in ("", "_low", "_high"))
        assert shown == f"{accuracy:.1f} [{low:.1f}, {high:.1f}]"
    head = yaml.safe_load(trained.card.split("---\n")[1])
    assert head["datasets"] == ["raf"]
    assert {result["dataset"]["name"] for result in head["model-index"][0]["results"]} == {"raf", "kdef", "wikimedia"}


def test_the_card_tells_run_code_start_and_terms(trained):
    run = trained.run
    for known in (run.info.run_id, run.data.tags["git.commit"], "`scratch`", "squeezenet1_1", "epoch 1 of 1"):
        assert known in trained.card
    assert run.data.tags["terms"] in trained.card
    assert run.data.tags["terms"] in (trained.model / "LICENSE.md").read_text(encoding="utf-8")
    (logged,) = run.outputs.model_outputs
    assert trained.card.count(f'models:/{logged.model_id}"') == 3
    assert "@champion" not in trained.card


def test_the_pictures_it_was_tested_on_are_credited(trained):
    text = (trained.model / "attribution.md").read_text(encoding="utf-8")
    assert "(attribution.md)" in trained.card
    assert text.count("| 1/") == 2, "two drawn stand-ins of each expression"


def test_a_card_admits_uncommitted_changes():
    assert "not committed" in code_in_words(CodeVersion("abc", True))
    assert code_in_words(CodeVersion("abc", False)) == "commit `abc`"
