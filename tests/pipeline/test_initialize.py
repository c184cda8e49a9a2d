import json
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
import torch

from fer.config.models import ExportConfig
from fer.data.datasets.registry import DATASETS
from fer.data.manifest import Manifest
from fer.data.prepared import FORMAT_VERSION, Prepared
from fer.errors import ConfigError, DataError, ModelError
from fer.models.backbones import Classifier, Encoder, ModelSpec
from fer.models.files import save_classifier, save_encoder
from fer.models.initial_weights import load_initial_weights
from fer.pipeline.initialize import expected_framing, fetch_initial_weights
from fer.tracking import store
from fer.tracking.lifecycle import tracked
from fer.tracking.models import log_model
from fer.tracking.registry import register
from fer.utils.paths import summary_path
from tests import stores


def prepared_with(root: Path, **framings: str) -> None:
    for name, framing in framings.items():
        path = summary_path(root, name)
        path.parent.mkdir(exist_ok=True)
        done = Prepared(Manifest(name, ()), "", framing, (), {}, (), reused=False)
        path.write_text(json.dumps({"version": FORMAT_VERSION, "fingerprint": "", **done.summary()}))


@pytest.mark.parametrize(
    ("names", "framing", "wanted"),
    [
        (["raf"], "none", "detect"),
        (["ferplus"], "none", "detect"),
        (["kdef"], "auto", "detect"),
        (["kdef"], "none", "none"),
        (["raf", "kdef"], "none", "detect"),
        (["drawn-raf", "drawn-kdef"], "none", "none"),
        (["drawn-raf", "ferplus"], "none", "detect"),
    ],
    ids=str,
)
def test_a_model_expects_faces_as_its_training_sets_showed_them(
    tmp_path: Path, names: list[str], framing: str, wanted: str
) -> None:
    prepared_with(tmp_path, **dict.fromkeys(names, framing))
    assert expected_framing([DATASETS[name] for name in names], tmp_path) == wanted


def test_a_set_whose_summary_is_gone_says_to_prepare_it_again(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run prepare again for 'kdef'"):
        expected_framing([DATASETS["kdef"]], tmp_path)


TAGS = {"validation_digest": "v1", "protocol": "p", "terms": "none"}


@pytest.fixture(scope="module")
def runs(empty_store, tmp_path_factory):
    """A run as `pretrain` leaves it, one as `finetune` does (registered as fer-demo), and one that logged nothing."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    encoder = Encoder(ModelSpec("resnet18", 32, mean=(0.4, 0.5, 0.6), trained_on=("raf",)))
    classifier = Classifier(ModelSpec("squeezenet1_1", 32, trained_on=("kdef",), terms=("researchers only",)))
    save_encoder(encoder, folder / "made" / "encoder", "swav")
    save_classifier(classifier, folder / "made" / "classifier")
    torch.save({"spec": classifier.spec.to_dict(), "model": classifier.state_dict()}, folder / "best.ckpt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", stores.copy(empty_store, folder))
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        mlflow.set_tracking_uri(None)
        store.connect()
        with tracked("pretrain", ExportConfig(), "pretrained") as pretrained:
            for path in (folder / "made" / "encoder").iterdir():
                pretrained.file(path, "encoder")
        with tracked("finetune", ExportConfig(), "finetuned") as finetuned:
            finetuned.file(folder / "best.ckpt", "checkpoints")
            log_model(finetuned, folder / "made" / "classifier", TAGS, "a model")
        register("fer-demo", stores.model_of(finetuned.id), 0.5, TAGS, promote=False)
        with tracked("finetune", ExportConfig(), "empty") as empty:
            pass
        ids = [run.id for run in (pretrained, finetuned, empty)]
        yield SimpleNamespace(pretrained=ids[0], finetuned=ids[1], empty=ids[2], encoder=encoder, classifier=classifier)
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


@pytest.mark.parametrize("rest", ["", "/encoder"])
def test_a_pretraining_run_gives_its_encoder(runs, tmp_path, rest):
    init = f"runs:/{runs.pretrained}{rest}"
    start = fetch_initial_weights(init, "resnet18", tmp_path)
    assert (start.origin, start.run_id) == (init, runs.pretrained)
    assert (start.mean, start.trained_on) == ((0.4, 0.5, 0.6), ("raf",))
    model = Classifier(ModelSpec("resnet18", 32))
    assert load_initial_weights(model, start).missing == ("fc.weight", "fc.bias")
    assert torch.equal(model.backbone.conv1.weight, runs.encoder.backbone.conv1.weight)


@pytest.mark.parametrize(
    "address", ["runs:/{id}", "runs:/{id}/checkpoints/best.ckpt", "models:/fer-demo@champion", "models:/fer-demo/1"]
)
def test_a_finetuned_model_gives_its_backbone_however_it_is_named(runs, tmp_path, address):
    start = fetch_initial_weights(address.format(id=runs.finetuned), "squeezenet1_1", tmp_path)
    assert (start.run_id, start.trained_on, start.terms) == (runs.finetuned, ("kdef",), "researchers only")
    model = Classifier(ModelSpec("squeezenet1_1", 32))
    assert load_initial_weights(model, start).missing == ()
    assert torch.equal(model.backbone.features[0].weight, runs.classifier.backbone.features[0].weight)


def test_the_downloads_may_vanish_once_they_are_read(runs, tmp_path):
    start = fetch_initial_weights(f"runs:/{runs.pretrained}", "resnet18", tmp_path)
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert load_initial_weights(Encoder(ModelSpec("resnet18", 32)), start).missing == ()


def test_another_architecture_is_refused_with_the_right_one(runs, tmp_path):
    start = fetch_initial_weights(f"runs:/{runs.pretrained}", "squeezenet1_1", tmp_path)
    with pytest.raises(ModelError, match=f"runs:/{runs.pretrained} holds weights of resnet18.*give arch=resnet18"):
        load_initial_weights(Classifier(ModelSpec("squeezenet1_1", 32)), start)


def test_a_run_without_a_model_is_one_sentence(runs, tmp_path):
    for address in (f"runs:/{runs.empty}", f"runs:/{runs.empty}/encoder", "runs:/" + "0" * 32):
        with pytest.raises(ModelError, match="there is no model at runs:/") as error:
            fetch_initial_weights(address, "resnet18", tmp_path)
        assert "\n" not in str(error.value)


def test_names_and_files_need_no_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fetch_initial_weights("scratch", "resnet18", tmp_path).state is None
    with pytest.raises(ConfigError, match="'scratch'"):
        fetch_initial_weights("scatch", "resnet18", tmp_path)
    save_encoder(Encoder(ModelSpec("resnet18", 32)), Path("mine"), "simclr")
    assert fetch_initial_weights("mine", "resnet18", tmp_path).run_id == ""
    assert json.loads(Path("mine/encoder.json").read_text())["method"] == "simclr"
    assert not Path("mlflow.db").exists()
