import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fer.data.archives import ZippedFiles, is_archive, unpack
from fer.data.datasets.registry import DATASETS, find_source
from fer.data.prepare import prepare
from fer.errors import DataError
from fer.portable.images import UnusableImage


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


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder to unpack into."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def zipped(folder: Path, archive: Path) -> bytearray:
    """The bytes of a zip of a folder, to damage."""
    return bytearray(Path(shutil.make_archive(str(archive), "zip", folder)).read_bytes())


def test_an_encrypted_archive_says_what_to_do(raw_trees, tmp_path, out):
    content = zipped(raw_trees / "wikimedia/3", tmp_path / "w")
    content[content.rindex(b"PK\1\2") + 8] |= 1
    (tmp_path / "w.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"is encrypted.*: unpack it and pass its folder"):
        unpack(tmp_path / "w.zip", out)


def test_a_way_of_compression_python_does_not_know_is_said(raw_trees, tmp_path, out):
    content = zipped(raw_trees / "wikimedia/3", tmp_path / "w")
    for mark, place in ((b"PK\1\2", 10), (b"PK\3\4", 8)):
        start = -1
        while (start := content.find(mark, start + 1)) >= 0:
            content[start + place] = 99
    (tmp_path / "w.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be unpacked here .*: unpack it and pass its folder"):
        unpack(tmp_path / "w.zip", out)


def test_what_an_archive_says_it_holds_must_fit(raw_trees, tmp_path, out):
    content = zipped(raw_trees / "wikimedia/3", tmp_path / "w")
    extra = b"\1\0\10\0" + (10**18).to_bytes(8, "little")
    start = content.rindex(b"PK\1\2")
    name_end = start + 46 + int.from_bytes(content[start + 28 : start + 30], "little")
    content[start + 24 : start + 28] = b"\xff" * 4  # the size stands in the extra field
    content[start + 30 : start + 32] = len(extra).to_bytes(2, "little")
    content[name_end:name_end] = extra
    end = content.rindex(b"PK\5\6")
    size = int.from_bytes(content[end + 12 : end + 16], "little") + len(extra)
    content[end + 12 : end + 16] = size.to_bytes(4, "little")
    (tmp_path / "w.zip").write_bytes(content)
    with pytest.raises(OSError, match="No space left on device"):
        unpack(tmp_path / "w.zip", out)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("size", [-512, -1536, -(10**6)])
def test_a_member_of_a_size_below_nothing_is_damage_and_no_endless_loop(tmp_path, out, size):
    record = f"{len(f'00 size={size}') + 1} size={size}\n".encode()
    header = tarfile.TarInfo("header")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    content = header.tobuf() + record.ljust(512, b"\0") + tarfile.TarInfo("1/a.jpg").tobuf() + bytes(1024)
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        unpack(tmp_path / "a.tar", out)


def test_long_names_of_members_are_told_in_part(tmp_path, out):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(f"../{'n' * 5000}.jpg", b"x")
    with pytest.raises(DataError, match="outside its folder") as refusal:
        unpack(tmp_path / "a.zip", out)
    assert len(str(refusal.value)) < 300 + len(str(tmp_path))


def test_a_member_without_a_name_is_damage(tmp_path, out):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("x.jpg", b"x")
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace(b"x.jpg", b"\0.jpg"))
    with pytest.raises(DataError, match="is damaged"):
        unpack(tmp_path / "a.zip", out)
    assert ZippedFiles(tmp_path / "a.zip").names() == [""]


def test_a_member_of_a_tar_that_does_not_fit_is_a_full_disk(tmp_path):
    member = tarfile.TarInfo("1/a.jpg")
    member.size = 10**17
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    with pytest.raises(DataError, match="no space left under"):
        prepare(DATASETS["wikimedia"], tmp_path / "a.tar", tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".locks"]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("harm", ["cut after a member", "cut in a header", "a header overwritten"])
def test_a_tar_that_is_not_whole_is_damaged(tmp_path, out, compress, harm):
    with tarfile.open(tmp_path / "plain.tar", "w") as packed:
        for name in "abc":
            member = tarfile.TarInfo(f"{name}.jpg")
            member.size = 512
            packed.addfile(member, io.BytesIO(name.encode() * 512))
    content = bytearray((tmp_path / "plain.tar").read_bytes())
    if harm == "a header overwritten":
        content[2048 : 2048 + 512] = b"x" * 512
    else:
        del content[2048 if harm == "cut after a member" else 2148 :]
    (tmp_path / "a.tar").write_bytes(compress(content))
    with pytest.raises(DataError, match="is damaged"):
        unpack(tmp_path / "a.tar", out)


def test_a_compressed_tar_that_breaks_off_at_once_is_damaged(tmp_path, out):
    (tmp_path / "a.tgz").write_bytes(gzip.compress(bytes(10240))[:12])
    assert is_archive(tmp_path / "a.tgz")
    with pytest.raises(DataError, match="is damaged"):
        unpack(tmp_path / "a.tgz", out)


def test_a_compressed_tar_with_a_wrong_checksum_is_damaged(raw_trees, tmp_path, out):
    archive = Path(shutil.make_archive(str(tmp_path / "w"), "gztar", raw_trees / "wikimedia"))
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        unpack(archive, out)


def test_a_link_to_a_member_that_does_not_exist_is_damage(tmp_path, out):
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        member = tarfile.TarInfo("a.jpg")
        member.type, member.linkname = tarfile.LNKTYPE, "gone.jpg"
        packed.addfile(member)
    with pytest.raises(DataError, match="damaged"):
        unpack(tmp_path / "a.tar", out)


@pytest.mark.parametrize(
    "names", [("a", "a/b"), ("a/b", "a"), ("n" * 300,)], ids=["file first", "folder first", "long"]
)
def test_names_that_no_folder_can_hold_are_damage(tmp_path, out, names):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name in names:
            packed.writestr(name, b"x")
    with pytest.raises(DataError, match="damaged"):
        unpack(tmp_path / "a.zip", out)


def test_a_link_in_a_zip_is_left_out_as_no_picture(raw_trees, prepared, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "w"), "zip", raw_trees / "wikimedia"))
    link = zipfile.ZipInfo("1/link.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr(link, "/etc/hostname")
    done = prepare(DATASETS["wikimedia"], archive, tmp_path / "data")
    assert done.left_out == (("1/link.jpg", "no readable picture (of no known format)"),)
    assert done.manifest.digest == prepared[1]["wikimedia"].manifest.digest


def test_names_that_are_not_utf8_are_left_out_of_a_tar_too(raw_trees, prepared, tmp_path):
    source = shutil.copytree(raw_trees / "wikimedia", tmp_path / "w")
    shutil.copyfile(next(source.glob("2/*.jpg")), source / "2" / os.fsdecode(b"\xfe.jpg"))
    with tarfile.open(tmp_path / "w.tar", "w") as packed:
        packed.add(source, "w")
    done = prepare(DATASETS["wikimedia"], tmp_path / "w.tar", tmp_path / "data")
    assert done.left_out == (("2/\\xfe.jpg", "its name is no UTF-8 text in one line"),)
    assert done.manifest.digest == prepared[1]["wikimedia"].manifest.digest


@pytest.mark.parametrize("around", ["", "release-1"])
def test_a_fault_in_the_labels_is_named_however_deep_they_lie(raw_trees, tmp_path, around):
    basic = shutil.copytree(raw_trees / "raf/EmoLabel", tmp_path / "up" / around / "basic/EmoLabel").parent
    (basic / "EmoLabel/list_patition_label.txt").write_text("train_00001.jpg 9")
    archive = Path(shutil.make_archive(str(tmp_path / "r"), "zip", tmp_path / "up"))
    with pytest.raises(DataError, match=r"list_patition_label\.txt line 1: '9' is no expression code"):
        prepare(DATASETS["raf"], archive, tmp_path / "data")


def test_many_threads_read_the_files_of_one_zip(tmp_path):
    content = {f"a/{number}.jpg": bytes([number]) * 5000 for number in range(200)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.mkdir("a")
        for name, data in content.items():
            packed.writestr(name, data)
    zipped = ZippedFiles(tmp_path / "a.zip")
    assert zipped.names() == list(content)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(zipped.read, content)) == list(content.values())


def test_a_zip_that_is_read_in_place_may_not_climb_or_be_encrypted_or_cut_short(raw_trees, tmp_path):
    with zipfile.ZipFile(tmp_path / "climbing.zip", "w") as packed:
        packed.writestr("../evil.jpg", b"x")
    with pytest.raises(DataError, match="outside its folder"):
        ZippedFiles(tmp_path / "climbing.zip")
    content = zipped(raw_trees / "wikimedia/3", tmp_path / "w")
    (tmp_path / "half.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"half\.zip is damaged .*: download it again"):
        ZippedFiles(tmp_path / "half.zip")
    content[content.rindex(b"PK\1\2") + 8] |= 1
    (tmp_path / "encrypted.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"is encrypted.*: unpack it and pass its folder"):
        ZippedFiles(tmp_path / "encrypted.zip")


def test_a_damaged_or_huge_file_of_a_zip_is_found_when_it_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("a.jpg", b"picture" * 100)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[100] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip is damaged \(Bad CRC-32"):
        ZippedFiles(tmp_path / "a.zip").read("a.jpg")
    directory = content.rindex(b"PK\1\2")
    content[directory + 24 : directory + 28] = (10**9).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UnusableImage, match="huge file of 1000000000 bytes"):
        ZippedFiles(tmp_path / "a.zip").read("a.jpg")
