from pathlib import Path

import pytest

from fer.utils.atomic import atomic_path, move_into_place, staging_folder, write_text_atomically


def test_a_file_is_replaced_whole_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    write_text_atomically(path, "old")
    with atomic_path(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text_atomically(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_staged_replaces_what_stood_there(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    (output / "old").touch()
    with staging_folder(output) as folder:
        (folder / "new").mkdir()
        move_into_place(folder / "new", output)
    assert list(tmp_path.iterdir()) == [output]
    assert not list(output.iterdir())
