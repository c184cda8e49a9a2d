import csv
import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import torch

from fer.commands import evaluate, finetune
from fer.config.commands import EvaluateConfig
from fer.config.training import FinetuneConfig, PretrainConfig
from fer.contamination.matching import Match
from fer.data.datasets.raf import RAF
from fer.data.datasets.registry import DATASETS
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.manifest import ImageRow, Manifest
from fer.data.prepare import prepare
from fer.errors import DataError
from fer.evaluation.datasets import Evaluation
from fer.evaluation.report import report
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, Encoder, ModelSpec
from fer.models.files import load_classifier, save_classifier, save_encoder
from fer.pipeline.contamination import (
    Contamination,
    SeenImages,
    contamination_figures,
    find_contamination,
    matches_csv,
    seen_images,
)
from fer.pipeline.context import RunContext
from fer.pipeline.initialize import initialize_model
from fer.portable.images import read_rgb
from fer.tracking import store
from fer.tracking.lifecycle import tracked
from fer.tracking.names import CONTAMINATION_FILE, REPORT_PAGE
from fer.tracking.provenance import images_of_run
from fer.tracking.reading import logged_figures
from tests import stores
from tests.contamination.copies import texture

TINY = FinetuneConfig(
    dataset="raf", arch="squeezenet1_1", image_size=32, init="scratch", epochs=1, batch_size=8, device="cpu",
    evaluate_on="raf+wikimedia",
)  # fmt: skip
COPY = "test/wikimedia/6/copy.jpg"


class Recorded:
    """Stands in for a run."""

    def __init__(self) -> None:
        self.tagged: dict[str, str] = {}

    def tags(self, values) -> None:
        self.tagged |= values


@pytest.fixture(scope="module")
def place(empty_store, tmp_path_factory, raw_trees):
    """(data root, RAF's training split) with a free set of textures, one of which shows a training picture of RAF.

    A store is connected; the current folder is where it lies.
    """
    folder = tmp_path_factory.mktemp("contaminated")
    train = prepare(RAF, raw_trees / "raf", folder / "data").manifest.of("train")
    for number, expression in enumerate(EXPRESSIONS):
        part = folder / "free" / str(number + 1)
        part.mkdir(parents=True)
        texture(number).save(part / f"{expression}.png")
    shown = read_rgb(folder / "data" / train.images[0].path).resize((180, 180))
    shown.point(lambda value: 0.8 * value).save(folder / "free" / "6" / "copy.jpg", quality=80)
    prepare(WIKIMEDIA, folder / "free", folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", stores.copy(empty_store, folder))
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        mlflow.set_tracking_uri(None)
        store.connect()
        yield folder / "data", train
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


@pytest.fixture(scope="module")
def trained(place) -> str:
    """The id of a run of `finetune`."""
    return finetune.run(replace(TINY, data_root=str(place[0]))).run_id


def logged(run_id: str):
    return mlflow.MlflowClient().get_run(run_id).data


def figures_of(run_id: str) -> dict[str, float]:
    return logged_figures(mlflow.MlflowClient().get_run(run_id))


def listed(run_id: str) -> list[dict[str, str]]:
    path = mlflow.artifacts.download_artifacts(
        run_id=run_id, artifact_path=f"evaluation/wikimedia/{CONTAMINATION_FILE}"
    )
    return list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8"))))


def test_finetune_reports_the_test_image_it_has_seen_and_its_accuracy_without_it(place, trained) -> None:
    data, train = logged(trained), place[1]
    assert data.tags["fer.training_images"] == f"raf/{train.digest}"
    figures = figures_of(trained)
    assert figures["wikimedia/contaminated/images"] == 1
    path = mlflow.artifacts.download_artifacts(run_id=trained, artifact_path="evaluation/wikimedia/predictions.csv")
    rows = csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8")))
    others = [row for row in rows if row["path"] != COPY]
    right = sum(row["true"] == row["predicted"] for row in others)
    assert figures["wikimedia/uncontaminated/images"] == len(others) == 7
    assert figures["wikimedia/uncontaminated/accuracy"] == pytest.approx(right / 7)
    assert "1 of 8 images seen in training (1 near-copy)" in data.tags["wikimedia.contamination"]
    (row,) = listed(trained)
    assert (row["test"], row["training_set"], row["training"]) == (COPY, "raf", train.images[0].path)
    assert (row["labels"], row["kind"]) == ("seen", "near-copy") and float(row["correlation"]) > 0.95
    assert "raf/contaminated/images" in figures


def test_pictures_that_are_gone_cost_a_warning_and_not_the_training(place, trained, monkeypatch, capsys) -> None:
    def gone(*arguments):
        raise DataError("wikimedia/6/copy.jpg can no longer be read")

    monkeypatch.setattr("fer.contamination.matching.cached_matches", gone)
    found = evaluate.run(EvaluateConfig(dataset="wikimedia", data_root=str(place[0]), device="cpu"))
    data = logged(found.run_id)
    assert data.tags["wikimedia.contamination"] == "unknown: wikimedia/6/copy.jpg can no longer be read"
    assert "wikimedia/accuracy" in data.metrics and "wikimedia/uncontaminated/accuracy" not in figures_of(found.run_id)
    assert "is unknown: wikimedia/6/copy.jpg" in capsys.readouterr().out


def test_with_skip_a_training_looks_at_no_picture_but_says_which_it_saw(place, monkeypatch) -> None:
    def never(*arguments):
        raise AssertionError("pictures were looked at")

    for name in ("signatures.image_signatures", "matching.cached_matches"):
        monkeypatch.setattr(f"fer.contamination.{name}", never)
    config = replace(TINY, data_root=str(place[0]), contamination="skip", registered_name="none")
    data = logged(finetune.run(config).run_id)
    assert data.tags["fer.training_images"] == f"raf/{place[1].digest}"
    assert data.tags["raf.contamination"].startswith("not looked for")


def test_signatures_lie_under_the_data_root_and_in_no_artifact(place, trained) -> None:
    kept = {path.name.split("-")[0] for path in (place[0] / "signatures").glob("*.npz")}
    assert kept == {"raf", "wikimedia"}
    assert not [path for path in Path.cwd().rglob("*.npz") if place[0] not in path.parents]


def test_evaluate_knows_the_registered_models_training_images_and_warns(place, trained, capsys) -> None:
    found = evaluate.run(EvaluateConfig(dataset="wikimedia", data_root=str(place[0]), device="cpu"))
    assert "warning: wikimedia: 1 of 8 images seen in training" in capsys.readouterr().out
    figures, before = figures_of(found.run_id), figures_of(trained)
    for key in ("contaminated/images", "uncontaminated/accuracy", "uncontaminated/class_mean"):
        assert figures[f"wikimedia/{key}"] == before[f"wikimedia/{key}"]
    assert [row["test"] for row in listed(found.run_id)] == [COPY]
    page = mlflow.artifacts.load_text(f"runs:/{found.run_id}/{REPORT_PAGE}")
    assert page.count("Warning:</strong> Wikimedia Commons faces, test set: 1 of 8 images seen in training") == 1


def test_skip_looks_for_nothing(place, trained) -> None:
    config = EvaluateConfig(dataset="wikimedia", data_root=str(place[0]), device="cpu", contamination="skip")
    run_id = evaluate.run(config).run_id
    assert logged(run_id).tags["wikimedia.contamination"] == "not looked for: contamination=skip"
    assert not [key for key in figures_of(run_id) if "contaminated" in key]
    page = mlflow.artifacts.load_text(f"runs:/{run_id}/{REPORT_PAGE}")
    assert "Contamination: not looked for: contamination=skip." in page
    assert "Warning:" not in page


def test_a_model_that_does_not_say_what_it_saw_is_known_by_its_runs_inputs(place, trained, tmp_path) -> None:
    train = place[1]
    with tracked("finetune", TINY, "from an earlier one") as run:
        run.tags({"fer.started_from": trained})
        run.dataset(Manifest("kdef", train.images), place[0], "pre-training, without labels")
        run.dataset(Manifest("ferplus", train.images), place[0], "evaluation, test set")
    expected = ((f"raf/{train.digest}",), (f"kdef/{Manifest('kdef', train.images).digest}",))
    assert images_of_run(run.id) == expected
    assert seen_images(ModelSpec("resnet18", 32), run.id) == SeenImages(*expected)
    assert images_of_run("0" * 32) == ((), ())


def test_what_an_encoder_saw_without_labels_travels_into_the_classifier_and_its_file(place, tmp_path) -> None:
    root, train = place
    config = PretrainConfig(dataset="raf", arch="resnet18", image_size=32, data_root=str(root))
    run = Recorded()
    context = RunContext(run, root, torch.device("cpu"), "fp32", config, "scratch")
    encoder = initialize_model(Encoder, context)
    assert run.tagged["fer.pretraining_images"] == f"raf/{train.digest}" and "fer.training_images" not in run.tagged
    save_encoder(encoder, tmp_path / "encoder", "simclr")
    again = replace(TINY, arch="resnet18", data_root=str(root), init=str(tmp_path / "encoder"))
    classifier = initialize_model(Classifier, replace(context, config=again, init=again.init))
    assert run.tagged["fer.training_images"] == run.tagged["fer.pretraining_images"] == f"raf/{train.digest}"
    assert run.tagged["weights.loaded"].startswith("weights: encoder: "), "no folder of this machine"
    save_classifier(classifier, tmp_path / "classifier")
    spec = load_classifier(tmp_path / "classifier").spec
    assert seen_images(spec) == SeenImages((f"raf/{train.digest}",), (f"raf/{train.digest}",))


def evaluation(seed: int = 0, count: int = 40) -> Evaluation:
    rng = np.random.default_rng(seed)
    labels, scores = rng.integers(0, 6, count), rng.dirichlet(np.ones(7), count)
    names = [EXPRESSIONS[label] for label in labels]
    rows = [ImageRow(f"{n}.png", name, "test", "", "", "", "", 0, 1, 1, "", "") for n, name in enumerate(names)]
    return Evaluation(DATASETS["raf"], "test", Manifest("raf", tuple(rows)), scores, report(labels, scores), {})


def near(*numbers: int) -> list[Match]:
    return [Match(f"{number}.png", "ferplus", f"t{number}.png", "near-copy", 0.97) for number in numbers]


def test_the_figures_without_seen_images_are_those_of_a_loop() -> None:
    tested, seen, unlabelled = evaluation(), near(1, 5, 5, 8), near(5, 20)
    figures = contamination_figures(tested, seen, unlabelled)
    hits: dict[str, list[bool]] = {}
    for number, (row, scores) in enumerate(zip(tested.manifest.images, tested.probabilities, strict=True)):
        if number not in (1, 5, 8, 20):
            hits.setdefault(row.expression, []).append(EXPRESSIONS[int(scores.argmax())] == row.expression)
    everything = [hit for of_class in hits.values() for hit in of_class]
    assert figures == {
        "contaminated/images": 3,
        "contaminated/pretraining_images": 2,
        "uncontaminated/images": 36,
        "uncontaminated/accuracy": pytest.approx(np.mean(everything)),
        "uncontaminated/class_mean": pytest.approx(np.mean([np.mean(of_class) for of_class in hits.values()])),
    }


def test_figures_without_any_image_left_are_absent_and_of_a_clean_set_the_plain_ones() -> None:
    tested = evaluation(count=3)
    assert contamination_figures(tested, near(0, 1, 2), []) == {"contaminated/images": 3}
    clean = contamination_figures(tested, [], [])
    assert clean["contaminated/images"] == 0 and "contaminated/pretraining_images" not in clean
    assert clean["uncontaminated/accuracy"] == tested.report.accuracy
    assert clean["uncontaminated/class_mean"] == pytest.approx(tested.report.class_mean)


@pytest.mark.parametrize(
    ("past", "reason"),
    [
        (SeenImages((), ()), "unknown: the model does not say which images it was trained on"),
        (SeenImages(("raf/0123",), ()), "unknown: the data root holds no training images of raf with digest 0123"),
    ],
)
def test_where_training_images_are_not_known_the_set_says_so_and_claims_nothing(tmp_path, past, reason) -> None:
    assert find_contamination({"raf": evaluation()}, past, tmp_path) == {"raf": Contamination(reason)}


def test_the_list_of_matches_holds_words_and_no_number_where_persons_were_compared() -> None:
    person = Match('a "b",c.png', "kdef", "train/kdef/1/d.png", "person", None)
    rows = list(csv.reader(io.StringIO(matches_csv([person], near(3)))))
    assert rows[1] == ['a "b",c.png', "kdef", "train/kdef/1/d.png", "seen", "person", ""]
    assert rows[2] == ["3.png", "ferplus", "t3.png", "not seen", "near-copy", "0.9700"]


def test_images_seen_by_the_encoder_only_are_reported_apart(place, monkeypatch) -> None:
    matches = {"a": near(1), "b": near(2, 3)}
    monkeypatch.setattr(
        "fer.contamination.signatures.load_signatures", lambda dataset, *_: SimpleNamespace(dataset=dataset)
    )
    monkeypatch.setattr("fer.contamination.matching.cached_matches", lambda _, prints, __: matches[prints.dataset])
    found = find_contamination({"raf": evaluation()}, SeenImages(("a/1",), ("b/2",)), place[0])["raf"]
    assert found.figures["contaminated/images"] == 1 and found.figures["contaminated/pretraining_images"] == 2
    assert found.figures["uncontaminated/images"] == 37
    assert "3 of 40 images seen in training, 2 of them by the encoder without labels" in found.message
