import mlflow
import pytest
from mlflow.utils.validation import _validate_logged_model_name

from fer.errors import ModelError
from fer.tracking.naming import joined_name, logged_model_name, model_label, weights_label


@pytest.fixture
def pretrained(client) -> str:
    run = client.create_run("0", run_name="simclr · resnet18 · raf · seed 0", tags={"fer.command": "pretrain"})
    # As the launcher logs it.
    for key, value in {"method": "simclr", "dataset": "'raf+kdef'"}.items():
        client.log_param(run.info.run_id, key, value)
    return str(run.info.run_id)


def test_weights_are_called_by_what_they_are(client, pretrained):
    other = client.create_run("0", run_name="mine").info.run_id
    assert weights_label(f"runs:/{pretrained}") == "simclr on raf+kdef"
    assert weights_label(f"runs:/{other}/model") == f"run {other[:8]}"
    assert weights_label("runs:/" + "0" * 32) == "run 00000000", "whoever reads them says that they are not there"
    assert weights_label("simclr-faces") == "simclr-faces"
    assert weights_label("/home/me/weights.ckpt") == "weights.ckpt"


def test_a_model_is_called_by_its_version_its_run_or_its_file(logged):
    run_id, model_id = logged
    mlflow.register_model(f"models:/{model_id}", "fer")
    mlflow.MlflowClient().set_registered_model_alias("fer", "champion", "1")
    assert model_label("models:/fer@champion") == "fer/1"
    assert model_label("models:/fer/1") == "fer/1"
    assert model_label(f"runs:/{run_id}") == mlflow.get_run(run_id).info.run_name
    assert model_label(f"models:/{model_id}") == "squeezenet1_1 · raf · seed 0"
    assert model_label("models:/m-0123") == "m-0123", "whoever reads it says that it is not there"
    assert model_label("some/folder/") == "folder"
    with pytest.raises(ModelError, match="there is no model at"):
        model_label("models:/fer@nobody")


def test_a_logged_model_bears_the_name_of_its_run(logged):
    assert mlflow.get_logged_model(logged[1]).name == "squeezenet1_1 · raf · seed 0"


def test_a_name_of_any_run_names_a_model():
    name = logged_model_name('fer/3 · a:b · it\'s 50% "x" v1.2')
    assert name == "fer-3 · a-b · it-s 50- -x- v1-2"
    _validate_logged_model_name(name)


def test_parts_without_text_leave_no_gap():
    assert joined_name("compare", "", "2 runs") == "compare · 2 runs"
