import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fer.cli import main
from fer.models import export
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import save_classifier


@pytest.fixture
def place(tmp_path, monkeypatch, capsys) -> SimpleNamespace:
    """A model's folder and an empty current folder; commands are run there and give their code and output."""
    torch.manual_seed(0)
    save_classifier(Classifier(ModelSpec("squeezenet1_1", 32, terms=("research only",))), tmp_path / "mine")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        code = 0
        try:
            main(["export", "--model", str(tmp_path / "mine"), *map(str, words)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return SimpleNamespace(here=here, run=run)


def test_what_was_written_is_told_and_described_beside_it(place):
    code, said = place.run("--format", "torch")
    assert code == 0, said
    file, sidecar = place.here / "mine.pt2", place.here / "mine.pt2.json"
    assert {path.name for path in place.here.iterdir()} == {file.name, sidecar.name}
    described = json.loads(sidecar.read_text(encoding="utf-8"))
    assert described["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert described["bytes"] == file.stat().st_size
    assert described["checked"]["batches"] == [1, 3, 32]
    difference = described["checked"]["largest_difference"]
    assert difference <= described["checked"]["tolerance"] == export.TOLERANCE
    assert f"{difference:.1e}" in said
    assert f"{file.stat().st_size / 1e6:,.1f} MB" in said
    told = ("batches of 1, 3 and 32", "research only", "surprise, fear", "each a face, cut out", str(torch.__version__))
    for words in told:
        assert words in said
    assert torch.export.load(file).module()(torch.zeros(4, 3, 32, 32)).shape == (4, 7)


def test_a_file_that_answers_otherwise_is_removed_and_the_earlier_one_stays(place, monkeypatch):
    assert place.run("--format", "torch", "--output", "net.pt2")[0] == 0
    before = (place.here / "net.pt2").read_bytes()

    def wrongly(program: object, path: Path, metadata: object) -> tuple[str, export.Predict]:
        path.write_bytes(b"wrong")
        return "", lambda images: torch.full((len(images), 7), 1 / 7)

    monkeypatch.setattr(export, "_write_torch", wrongly)
    for output in ("net.pt2", "other.pt2"):
        code, said = place.run("--format", "torch", "--output", output)
        assert code == 2 and "was removed" in said and said.count("\n") == 1
    assert {path.name for path in place.here.iterdir()} == {"net.pt2", "net.pt2.json"}
    assert (place.here / "net.pt2").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--format", "torch", "--output", "net.onnx"), "output must end in .pt2 for format=torch, not 'net.onnx'"),
        (("--format", "tensorflow"), "unknown format 'tensorflow'"),
        (("--model", "nowhere"), "there is no model at nowhere"),
    ],
)
def test_a_mistake_costs_one_sentence_and_leaves_nothing(place, words, sentence):
    code, said = place.run(*words)
    assert code == 2 and sentence in said and said.count("\n") == 1
    assert not list(place.here.iterdir())


def test_a_folder_in_the_files_place_is_left_alone(place):
    (place.here / "net.pt2").mkdir()
    code, said = place.run("--format", "torch", "--output", "net.pt2")
    assert code == 2 and "is a folder: name a file" in said
