import hashlib
from dataclasses import replace

import pytest
import torch
import torchvision

from fer.commands.weights import run
from fer.config.commands import WeightsConfig
from fer.models.catalogue import CATALOGUE


@pytest.fixture
def listing(tmp_path, monkeypatch, capsys):
    """What `fer weights` prints for a cache of the test's own, by name."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()

    def listed() -> dict[str, str]:
        run(WeightsConfig())
        return {block.split()[0]: block for block in capsys.readouterr().out.split("\n\n")}

    return listed


def words(block: str) -> str:
    return " ".join(block.split())


def test_every_starting_point_is_listed_with_all_that_is_known_of_it(listing, tmp_path):
    blocks = listing()
    assert list(blocks) == ["scratch", "supervised-imagenet", *CATALOGUE, "<path>"]
    assert "resnet18_msceleb.pth" in words(blocks["<path>"])
    for name, entry in CATALOGUE.items():
        text = words(blocks[name])
        for known in (entry.arch, entry.terms, entry.trained_on, entry.note, entry.sha256 or "unverified"):
            assert known in text
        assert entry.address in blocks[name].split()
        assert str(tmp_path / "checkpoints" / entry.file) in blocks[name].split()
        assert "not cached" in text


def test_what_is_on_this_machine_is_said(listing, tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints"
    good = replace(CATALOGUE["simclr-imagenet"], sha256=hashlib.sha256(b"weights").hexdigest())
    monkeypatch.setitem(CATALOGUE, "simclr-imagenet", good)
    for name in ("simclr-imagenet", "simclr-faces"):
        (folder / CATALOGUE[name].file).write_bytes(b"weights")
    (folder / CATALOGUE["simsiam-faces"].file).write_bytes(b"<html>Sign in</html>")
    (folder / torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]).touch()
    headings = {name: block.splitlines()[0] for name, block in listing().items()}
    states = {name: heading.split(maxsplit=2)[2] for name, heading in headings.items()}
    assert states["simclr-imagenet"] == states["simclr-faces"] == "cached"
    assert states["simsiam-faces"] == "cached, but it is a web page: delete it"
    assert states["swav-imagenet"] == "not cached"
    assert states["supervised-imagenet"] == "cached for resnet18"
