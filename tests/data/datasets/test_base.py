from pathlib import Path

import pytest

from fer.data.datasets import base
from fer.data.datasets.base import find_folder, subfolders


def holds_mark(folder: Path) -> bool:
    return (folder / "mark").is_file()


def marked(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mark").touch()
    return folder


@pytest.mark.parametrize("below", ["", "a", "a/b", "a/b/c"])
def test_a_folder_is_found_however_deep_a_download_is_packed(tmp_path: Path, below: str) -> None:
    wanted = marked(tmp_path / below)
    (tmp_path / "0" / "other").mkdir(parents=True)
    assert find_folder(tmp_path, holds_mark) == wanted


def test_the_nearest_folder_wins_and_hidden_ones_and_what_macos_adds_are_passed_over(tmp_path: Path) -> None:
    for name in (".hidden", "__MACOSX", "a/b"):
        marked(tmp_path / name)
    near = marked(tmp_path / "z")
    assert find_folder(tmp_path, holds_mark) == near
    assert subfolders(tmp_path) == [tmp_path / "a", tmp_path / "z"]


def test_what_lies_too_deep_or_among_too_many_is_not_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked(tmp_path / "a/b/c/d")
    assert find_folder(tmp_path, holds_mark) is None
    marked(tmp_path / "z")
    monkeypatch.setattr(base, "MAX_SEARCHED", 1)
    assert find_folder(tmp_path, holds_mark) is None


def test_a_folder_that_is_none_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert subfolders(tmp_path / "file") == subfolders(tmp_path / "missing") == []
