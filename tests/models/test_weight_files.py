import zipfile
from pathlib import Path

import pytest
import torch

from fer.errors import ModelError
from fer.models.weight_files import read_file


def test_a_small_file_that_would_unpack_to_a_large_one_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "plain.pt")
    assert read_file(tmp_path / "plain.pt")["a"].shape == (100_000,)
    plain = zipfile.ZipFile(tmp_path / "plain.pt")
    with plain, zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(ModelError, match=r"packed\.pt is no weights file: it would unpack to 40[0-9],[0-9]{3} bytes"):
        read_file(tmp_path / "packed.pt")


@pytest.mark.parametrize("name", ["a\x1b[31mb", "x" * 5000], ids=["steers a terminal", "long"])
def test_what_a_file_refers_to_is_told_in_a_short_line(tmp_path: Path, name: str) -> None:
    # Protocol 0: a line for the module and one for the name.
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as packed:
        packed.writestr("archive/data.pkl", f"c{name}\n{name}\n.".encode())
        packed.writestr("archive/version", "3\n")
    with pytest.raises(
        ModelError, match=r"it refers to .*, and only tensors and known bookkeeping are read"
    ) as refusal:
        read_file(tmp_path / "a.pt")
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value)) < 300 + len(str(tmp_path))
