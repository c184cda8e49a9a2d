from fer.config.models import ExportConfig
from fer.data.manifest import ImageRow, Manifest
from fer.tracking.lifecycle import tracked


def test_a_data_set_is_an_input_with_its_digest(client, tmp_path):
    row = ImageRow("test/wikimedia/1/a.jpg", "surprise", "test", "", "", "", "ab" * 32, 10, 4, 5, "1/a.jpg", "")
    manifest = Manifest("wikimedia", (row,))
    with tracked("evaluate", ExportConfig(), "tested") as run:
        run.dataset(manifest, tmp_path, "test")
    (entry,) = client.get_run(run.id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("wikimedia", manifest.digest)
    assert {tag.value for tag in entry.tags} == {"test"}


def test_many_figures_fit_one_call(client):
    with tracked("evaluate", ExportConfig(), "many") as run:
        run.metrics({f"m/{n}": n for n in range(1500)})
    assert len(client.get_run(run.id).data.metrics) == 1500
