import os
import sys
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from fer.errors import ModelError
from fer.models.foreign import read_file, tensors_of
from tests.models.old_files import lightning_content, pretending

STATE = {"model.conv1.weight": torch.arange(6.0).reshape(2, 3), "model.bn1.bias": torch.ones(2)}
FORMS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old form"])


@FORMS
def test_a_lightning_checkpoint_of_2020_gives_its_tensors_without_lightning(tmp_path, monkeypatch, zipped):
    with lightning_content(STATE) as content:
        torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    for name in ("pytorch_lightning", "pl_bolts"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it would fail
    content = read_file(tmp_path / "w.ckpt")
    state = tensors_of(content, tmp_path / "w.ckpt")
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in STATE.items())
    assert type(content["hyper_parameters"]) is OrderedDict
    assert content["hyper_parameters"]["gpus"] == 1
    assert not vars(content["hyper_parameters"]["arguments"])


def test_todays_lightning_uses_the_same_names(tmp_path):
    parsing = pytest.importorskip("pytorch_lightning.utilities.parsing")
    from pytorch_lightning.callbacks import ModelCheckpoint

    content = {
        "state_dict": STATE,
        "hyper_parameters": parsing.AttributeDict(lr=0.1),
        "callbacks": {ModelCheckpoint: 1},
    }
    torch.save(content, tmp_path / "w.ckpt")
    assert read_file(tmp_path / "w.ckpt")["hyper_parameters"] == {"lr": 0.1}


@FORMS
def test_whatever_else_a_file_refers_to_is_refused_by_name(tmp_path, zipped):
    with pretending("somebody.nets.Net") as made:
        content = {"state_dict": STATE, "net": made["Net"]()}
        torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"refers to somebody\.nets\.Net, and only"):
        read_file(tmp_path / "w.ckpt")


class Harm:
    def __init__(self, sign: str) -> None:
        self.sign = sign

    def __reduce__(self):
        return (os.mkdir, (self.sign,))


@FORMS
def test_a_call_in_a_file_is_refused_by_name_and_does_not_run(tmp_path, zipped):
    content = {"state_dict": STATE, "x": Harm(str(tmp_path / "done"))}
    torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"refers to posix\.mkdir"):
        read_file(tmp_path / "w.ckpt")
    assert not (tmp_path / "done").exists()


def test_stand_ins_hold_for_the_reading_only(tmp_path):
    with lightning_content(STATE) as content:
        torch.save(content, tmp_path / "w.ckpt")
    before = set(torch.serialization.get_safe_globals())
    read_file(tmp_path / "w.ckpt")
    assert set(torch.serialization.get_safe_globals()) == before


def test_safetensors_are_read(tmp_path):
    save_file(STATE, tmp_path / "w.safetensors")
    assert tensors_of(read_file(tmp_path / "w.safetensors"), tmp_path).keys() == STATE.keys()


@pytest.mark.parametrize("content", [b"", b"weights", b"<html>Sign in</html>"])
@pytest.mark.parametrize("name", ["w.ckpt", "w.safetensors"])
def test_what_is_no_weights_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} is no weights file") as error:
        read_file(tmp_path / name)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        read_file(tmp_path / "nowhere.pth")
