"""The known sets through the real commands, from drawn downloads in the layouts in which people hold them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fer.cli import main
from fer.data.datasets.registry import DATASETS
from fer.data.manifest import read_manifest
from fer.tracking.names import DIGEST, TERMS, dataset_tag
from fer.utils.paths import manifest_path
from tests import stores
from tests.data.datasets import layouts

DOWNLOADS: dict[str, Callable[[Path], Path]] = {
    "fer2013": lambda folder: layouts.fer2013_table(folder / "icml_face_data.csv", layouts.fer2013_rows()),
    "ckplus": layouts.ckplus_sequences,
    "jaffe": layouts.jaffe,
    "expw": layouts.expw,
    "affectnet": layouts.affectnet_tables,
}
TRAINING = (
    "--arch", "squeezenet1_1", "--image_size", "32", "--init", "scratch", "--epochs", "1", "--batch_size", "8",
    "--device", "cpu", "--registered_name", "none", "--contamination", "skip",
)  # fmt: skip


def fer(*words: str | Path) -> None:
    """Run a command of the command line, which must go through."""
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        assert not stop.code


@pytest.fixture(scope="module")
def client(empty_store: Path, tmp_path_factory: pytest.TempPathFactory, raw_trees: Path) -> MlflowClient:
    """A store in a folder that becomes the current one, with the new sets and RAF-DB prepared under `data`."""
    folder = tmp_path_factory.mktemp("known")
    stores.copy(empty_store, folder)
    with stores.connected(folder) as client:
        for name, write in DOWNLOADS.items():
            fer("prepare", "--dataset", name, "--source", write(folder / "downloads" / name), "--data_root", "data")
        raf = layouts.raf_official(raw_trees / "raf", folder / "downloads" / "raf")
        fer("prepare", "--dataset", "raf", "--source", raf, "--data_root", "data")
        yield client


@pytest.mark.parametrize("name", [*DOWNLOADS, "raf"])
def test_a_set_is_prepared_and_its_run_tells_digest_and_terms(client: MlflowClient, name: str) -> None:
    manifest = read_manifest(manifest_path(Path("data"), name))
    assert manifest.images
    (run,) = client.search_runs(["0"], f"tags.`{dataset_tag(name, DIGEST)}` = '{manifest.digest}'")
    assert run.info.status == "FINISHED"
    assert run.data.tags[dataset_tag(name, TERMS)] == DATASETS[name].terms
    assert run.data.metrics[f"{name}/images"] == len(manifest.images)


@pytest.mark.parametrize(("trained_on", "tests"), [("fer2013", ["ckplus", "jaffe"]), ("affectnet+raf", ["expw"])])
def test_a_training_on_new_sets_is_tested_on_others(client: MlflowClient, trained_on: str, tests: list[str]) -> None:
    both = [*trained_on.split("+"), *tests]
    fer("finetune", "--dataset", trained_on, "--evaluate_on", "+".join(both), "--data_root", "data", *TRAINING)
    (run,) = client.search_runs(["0"], f"params.dataset = '{trained_on}' and params.epochs = '1'")
    assert run.info.status == "FINISHED"
    assert all(0 <= run.data.metrics[f"{name}/accuracy"] <= 1 for name in both)
