import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from fer.data.archives import is_archive, unpack
from fer.data.preparing import prepare
from fer.data.registry import DATASETS, find_source
from fer.errors import DataError


@pytest.mark.parametrize("kind", ["zip", "gztar", "tar"])
@pytest.mark.parametrize("name", ["raf", "kdef", "wikimedia"])
def test_an_archive_gives_the_set_its_folder_gives(raw_trees, prepared, tmp_path, kind, name):
    # Packed with a folder around it, as downloads often are.
    shutil.copytree(raw_trees / name, tmp_path / "around" / "release-1" / name)
    archive = Path(shutil.make_archive(str(tmp_path / name), kind, tmp_path / "around"))
    root = tmp_path / "data"
    done = prepare(DATASETS[name], find_source(DATASETS[name], str(archive), root), root)
    assert done.manifest.digest == prepared[1][name].manifest.digest
    assert prepare(DATASETS[name], archive, root).reused
    assert not [path for path in root.iterdir() if "unpacked" in path.name]


def test_members_that_climb_out_are_refused_and_nothing_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("1/good.jpg", b"x")
        packed.writestr("../../evil.jpg", b"x")
    with tarfile.open(tmp_path / "b.tar", "w") as packed:
        member = tarfile.TarInfo("../evil.jpg")
        member.size = 1
        packed.addfile(member, io.BytesIO(b"x"))
    for name in ("a.zip", "b.tar"):
        folder = tmp_path / "inner" / name
        folder.mkdir(parents=True)
        with pytest.raises(DataError, match="outside its folder"):
            unpack(tmp_path / name, folder)
        assert not list(tmp_path.rglob("*.jpg"))


def test_damaged_archives_are_one_sentence(raw_trees, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "w"), "zip", raw_trees / "wikimedia"))
    content = bytearray(archive.read_bytes())
    content[200:400] = bytes(200)
    archive.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        prepare(DATASETS["wikimedia"], archive, tmp_path / "data")
    assert not list((tmp_path / "data").glob("t*/wikimedia*"))


def test_an_archive_of_something_else_says_what_it_lacks(raw_trees, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "w"), "zip", raw_trees / "wikimedia"))
    with pytest.raises(DataError, match="EmoLabel"):
        prepare(DATASETS["raf"], archive, tmp_path / "data")


def test_a_file_that_is_no_archive_is_no_source(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert not is_archive(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="neither a folder nor a zip or tar archive"):
        find_source(DATASETS["raf"], str(tmp_path / "notes.txt"), tmp_path)
