import errno
import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFile, ImageOps

from fer.data import checked_copies
from fer.data.datasets.base import Candidate, DataSet, Scan
from fer.data.datasets.kdef import KDEF
from fer.data.datasets.raf import LABELS, RAF
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.manifest import Manifest, read_manifest
from fer.data.prepare import prepare
from fer.data.prepared import Prepared, load_prepared
from fer.errors import DataError
from fer.expressions import code_of
from fer.portable.images import decode
from fer.utils.paths import manifest_path, summary_path

SETS = {"raf": RAF, "kdef": KDEF, "wikimedia": WIKIMEDIA}
EVERY_SET = pytest.mark.parametrize("name", SETS)
Ready = tuple[Path, dict[str, Prepared]]
Copier = Callable[[str], Path]


def files(root: Path) -> dict[str, tuple[int, int]]:
    """Every file below a data root but the locks, with its time and size."""
    found = {path.relative_to(root).as_posix(): path.stat() for path in root.rglob("*") if path.is_file()}
    return {name: (at.st_mtime_ns, at.st_size) for name, at in found.items() if not name.startswith(".locks/")}


def hidden(root: Path) -> list[str]:
    """What an interrupted preparation might leave behind."""
    return [path.name for path in root.rglob("*") if path.name.startswith(".") or path.suffix == ".partial"]


def paint(path: Path, colour: tuple[int, int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 24), colour).save(path)
    return path


def made_of(*candidates: Candidate, person_split: bool = False) -> DataSet:
    """A data set whose reader finds just these."""
    found = Scan(list(candidates))
    return replace(WIKIMEDIA, scan=lambda source: found, expected_counts={}, person_split=person_split)


@EVERY_SET
def test_the_tree_is_split_set_code_file(prepared: Ready, name: str) -> None:
    root, done = prepared[0], prepared[1][name]
    in_tree = {path for path in files(root) if re.fullmatch(rf"[^/]+/{name}/.*", path)}
    assert in_tree == {row.path for row in done.manifest.images}
    for row in done.manifest.images:
        part = "test" if row.split == "test" else "train"
        assert re.fullmatch(rf"{part}/{name}/{code_of(row.expression)}/[^/]+", row.path)


def test_a_data_root_holds_nothing_else(raw_trees: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"  # other tests train with the shared one, which leaves caches there
    for name in SETS:
        prepare(SETS[name], raw_trees / name, root)
    others = {path for path in files(root) if not path.startswith(("train/", "test/", "packed/"))}
    assert others == {f"manifests/{name}.{suffix}" for name in SETS for suffix in ("csv", "json")}
    assert [path for path in hidden(root) if not path.endswith(".lock")] == [".locks"]


def test_validation_lies_under_train(prepared: Ready) -> None:
    for name in ("raf", "kdef"):
        paths = [row.path for row in prepared[1][name].manifest.of("validation").images]
        assert paths
        assert all(path.startswith(f"train/{name}/") for path in paths)


@EVERY_SET
def test_manifest_columns_are_true(prepared: Ready, raw_trees: Path, name: str) -> None:
    root, done = prepared[0], prepared[1][name]
    download = raw_trees / name / ("KDEF" if name == "kdef" else "")
    for row in done.manifest.images:
        content = (root / row.path).read_bytes()
        assert row.sha256 == hashlib.sha256(content).hexdigest()
        assert row.bytes == len(content)
        with Image.open(root / row.path) as image:
            assert (row.width, row.height) == ImageOps.exif_transpose(image).size
        assert (download / row.source_name).read_bytes() == content


@EVERY_SET
def test_the_written_manifest_is_the_returned_one_in_order_of_path(prepared: Ready, name: str) -> None:
    manifest = prepared[1][name].manifest
    assert read_manifest(manifest_path(prepared[0], name)) == manifest
    assert [row.path for row in manifest.images] == sorted(row.path for row in manifest.images)


def test_the_summary_tells_what_was_found_and_left_out(prepared: Ready) -> None:
    told = json.loads(summary_path(prepared[0], "kdef").read_text(encoding="utf-8"))
    done = prepared[1]["kdef"]
    assert told["digest"] == done.manifest.digest
    assert told["counts"] == done.manifest.counts()
    assert told["left_out_reasons"] == {"entirely black": 1}
    assert told["repaired_or_converted"] == {
        "name repaired from AF31V.JPG": 1,
        "name repaired from AM31H.JPG": 1,
    }
    assert told["count_differences"] == list(done.differences)
    assert len(told["expressions"]) == 7


@EVERY_SET
def test_preparing_again_does_nothing(prepared: Ready, raw_trees: Path, name: str) -> None:
    root, first = prepared
    before = files(root)
    again = prepare(SETS[name], raw_trees / name, root)
    assert again == replace(first[name], reused=True)
    assert not first[name].reused
    assert files(root) == before


def test_preparing_again_reads_no_picture(shrunk: tuple[Path, Path, Prepared]) -> None:
    source, root, first = shrunk
    for row in first.manifest.images:
        for path in (source / row.source_name, root / row.path):
            before = path.stat()
            path.write_bytes(bytes(before.st_size))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert prepare(WIKIMEDIA, source, root) == replace(first, reused=True)


def test_the_digest_does_not_depend_on_the_place(shrunk: tuple[Path, Path, Prepared], tmp_path: Path) -> None:
    source, _, done = shrunk
    moved = source.rename(tmp_path / "moved")
    again = prepare(WIKIMEDIA, moved, tmp_path / "other/data")
    assert again.manifest == done.manifest
    assert not again.reused


def test_a_changed_label_is_prepared_anew(own_copy: Copier, tmp_path: Path) -> None:
    source, root = own_copy("raf"), tmp_path / "data"
    before = prepare(RAF, source, root)
    text = (source / LABELS).read_text()
    old = re.search(r"test_0001\.jpg (\d)", text)
    assert old
    code = int(old[1]) % 7 + 1
    (source / LABELS).write_text(text.replace(old[0], f"test_0001.jpg {code}"))
    after = prepare(RAF, source, root)
    assert not after.reused
    assert after.manifest.digest != before.manifest.digest
    assert [path for path in files(root) if "test_0001_" in path] == [f"test/raf/{code}/test_0001_aligned.jpg"]


def test_a_changed_picture_is_prepared_anew(shrunk: tuple[Path, Path, Prepared]) -> None:
    source, root, before = shrunk
    row = next(row for row in before.manifest.images if row.path.endswith(".jpg"))
    paint(source / row.source_name, (1, 200, 3))
    after = prepare(WIKIMEDIA, source, root)
    assert not after.reused
    assert (root / row.path).read_bytes() == (source / row.source_name).read_bytes()
    changed = {new.path for new, old in zip(after.manifest.images, before.manifest.images, strict=True) if new != old}
    assert changed == {row.path}


def test_a_picture_gone_from_the_download_leaves_the_tree(shrunk: tuple[Path, Path, Prepared]) -> None:
    source, root, before = shrunk
    gone = before.manifest.images[0]
    (source / gone.source_name).unlink()
    after = prepare(WIKIMEDIA, source, root)
    assert len(after.manifest.images) == 13
    assert not (root / gone.path).exists()


def test_unusable_pictures_are_left_out_by_name_and_reason(own_copy: Copier, tmp_path: Path) -> None:
    source = own_copy("raf")
    aligned = source / "Image/aligned"
    cut = aligned / "train_00001_aligned.jpg"
    cut.write_bytes(cut.read_bytes()[:-400])
    (aligned / "train_00002_aligned.jpg").unlink()
    (aligned / "test_0001_aligned.jpg").write_bytes(b"")
    (aligned / "test_0002_aligned.jpg").write_bytes(b"no picture")
    Image.new("RGB", (100, 100)).save(aligned / "test_0003_aligned.jpg")
    done = prepare(RAF, source, tmp_path / "data")
    reasons = {name.removeprefix("Image/aligned/").removesuffix("_aligned.jpg"): why for name, why in done.left_out}
    assert "truncated" in reasons.pop("train_00001")
    assert "no readable picture" in reasons.pop("test_0002")
    assert reasons == {"train_00002": "missing file", "test_0001": "empty file", "test_0003": "entirely black"}
    assert len(done.manifest.images) == 38 + 14 - 5
    assert sum(done.summary()["left_out_reasons"].values()) == 5
    assert not any(re.search("train_0000[12]_|test_000[123]_", path) for path in files(tmp_path / "data"))


def test_two_pictures_for_one_place_leave_the_second_out(own_copy: Copier, tmp_path: Path) -> None:
    source = own_copy("kdef")
    shutil.copyfile(source / "KDEF/AM31/AM31NES.JPG", source / "KDEF/AF31/AF31SAHL.JPG")
    done = prepare(KDEF, source, tmp_path / "data")
    assert ("AF31/AF31V.JPG", "stands a second time as AF31SAHL.JPG") in done.left_out
    (kept,) = [row for row in done.manifest.images if row.path.endswith("AF31SAHL.JPG")]
    assert kept.source_name == "AF31/AF31SAHL.JPG"
    assert (tmp_path / "data" / kept.path).read_bytes() == (source / "KDEF/AM31/AM31NES.JPG").read_bytes()


def test_a_folder_that_prepare_did_not_make_is_never_replaced(raw_trees: Path, tmp_path: Path) -> None:
    kept = tmp_path / "train/raf/holiday/1.jpg"
    kept.parent.mkdir(parents=True)
    kept.touch()
    with pytest.raises(DataError, match="holds 'holiday': move it away, or choose another data_root"):
        prepare(RAF, raw_trees / "raf", tmp_path)
    assert kept.is_file()


def test_no_usable_picture_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "download/1").mkdir(parents=True)
    (tmp_path / "download/1/a.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"no usable picture.*1/a\.jpg") as caught:
        prepare(WIKIMEDIA, tmp_path / "download", tmp_path / "data")
    assert str(tmp_path / "download") in str(caught.value)
    assert files(tmp_path / "data") == {}


def test_a_download_without_pictures_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "download/1").mkdir(parents=True)
    with pytest.raises(DataError, match="no usable picture"):
        prepare(WIKIMEDIA, tmp_path / "download", tmp_path / "data")


def test_a_person_in_training_and_test_is_refused(tmp_path: Path) -> None:
    pictures = [paint(tmp_path / f"{number}.png", (9 * number, 200, 0)) for number in range(3)]
    splits = ("train", "test", "test")
    people = ("F01", "F01", "F02")
    found = [
        Candidate(path, "fear", split, path.name, path.name, person)
        for path, split, person in zip(pictures, splits, people, strict=True)
    ]
    with pytest.raises(DataError, match=r"both training and test: F01$"):
        prepare(made_of(*found, person_split=True), tmp_path, tmp_path / "data")
    assert files(tmp_path / "data") == {}
    assert len(prepare(made_of(*found[1:]), tmp_path, tmp_path / "data").manifest.images) == 2


def at_the_fifth_copy(monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    copied = Counter[str]()
    real = checked_copies._write

    def write(*arguments: Any) -> object:
        copied["all"] += 1
        if copied["all"] == 5:
            raise fault
        return real(*arguments)

    monkeypatch.setattr(checked_copies, "_write", write)


def at_the_manifest(monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    def write(self: Manifest, path: Path) -> None:
        raise fault

    monkeypatch.setattr(Manifest, "write", write)


def between_the_trees(monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    """Train is in its place, test is not."""
    rename = Path.rename

    def move(self: Path, target: Path) -> Path:
        if target.parent.name == "test":
            raise fault
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", move)


MOMENTS = pytest.mark.parametrize("moment", [at_the_fifth_copy, between_the_trees, at_the_manifest])
Moment = Callable[[pytest.MonkeyPatch, BaseException], None]


@MOMENTS
def test_an_interrupted_preparation_leaves_no_half_set(
    moment: Moment, raw_trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    with monkeypatch.context() as patch:
        moment(patch, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            prepare(RAF, raw_trees / "raf", root)
    assert not manifest_path(root, "raf").exists()
    assert load_prepared(RAF, root) is None
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == [".locks"]
    after = prepare(RAF, raw_trees / "raf", root)
    assert not after.reused
    assert {path for path in files(root) if not path.startswith("manifests")} == {
        row.path for row in after.manifest.images
    }


@MOMENTS
def test_an_interrupted_renewal_keeps_the_old_set_or_none(
    moment: Moment, own_copy: Copier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, root = own_copy("raf"), tmp_path / "data"
    before = prepare(RAF, source, root)
    tree = files(root)
    paint(source / "Image/aligned/train_00001_aligned.jpg", (1, 200, 3))
    with monkeypatch.context() as patch:
        moment(patch, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            prepare(RAF, source, root)
    left = load_prepared(RAF, root)
    if moment is between_the_trees:
        assert left is None
        assert not manifest_path(root, "raf").exists()
    else:
        assert left == replace(before, reused=True)
        assert files(root) == tree
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == [".locks"]
    after = prepare(RAF, source, root)
    assert not after.reused
    assert after.manifest.digest != before.manifest.digest


def test_an_interruption_does_not_wait_for_every_picture(
    raw_trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = Counter[str]()

    def counted(image: ImageFile.ImageFile) -> object:
        decoded["all"] += 1
        return decode(image)

    def write(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checked_copies, "decode", counted)
    monkeypatch.setattr(checked_copies, "_write", write)
    with pytest.raises(KeyboardInterrupt):
        prepare(KDEF, raw_trees / "kdef", tmp_path / "data")
    assert decoded["all"] < 280


@MOMENTS
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence(
    moment: Moment, number: int, raw_trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment(monkeypatch, OSError(number, "full"))
    with pytest.raises(DataError, match=r"^no space left under [^\n]*$") as caught:
        prepare(RAF, raw_trees / "raf", tmp_path / "data")
    assert str(tmp_path / "data") in str(caught.value)
    assert load_prepared(RAF, tmp_path / "data") is None
    if moment is not between_the_trees:
        assert files(tmp_path / "data") == {}


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "may not be read or written"),
        (errno.EROFS, "may not be read or written"),
        (errno.EEXIST, "is in the way"),
        (errno.ENOTDIR, "is in the way"),
    ],
)
def test_a_place_that_may_not_be_used_is_one_sentence(
    number: int, said: str, raw_trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_fifth_copy(monkeypatch, OSError(number, "so", "there"))
    with pytest.raises(DataError, match=f"^there {said} .so.: [^\\n]*choose another data_root$"):
        prepare(RAF, raw_trees / "raf", tmp_path / "data")
    assert files(tmp_path / "data") == {}


def test_a_file_where_a_folder_of_the_data_root_should_be_is_named(raw_trees: Path, tmp_path: Path) -> None:
    (tmp_path / "manifests").touch()
    with pytest.raises(DataError, match=r"manifests is in the way"):
        prepare(RAF, raw_trees / "raf", tmp_path)
    assert files(tmp_path).keys() == {"manifests"}


@pytest.mark.parametrize("name", ["two\nlines.jpg", "a\rb.jpg", "a\u2028b.jpg"])
def test_a_name_that_would_break_a_line_is_left_out(own_copy: Copier, tmp_path: Path, name: str) -> None:
    source = own_copy("wikimedia")
    paint(source / "3" / name, (200, 100, 0))
    done = prepare(WIKIMEDIA, source, tmp_path / "data")
    ((shown, reason),) = done.left_out
    assert reason == "its name is no UTF-8 text in one line"
    assert shown.isprintable()
    assert load_prepared(WIKIMEDIA, tmp_path / "data") == replace(done, reused=True)


def test_another_fault_of_the_system_is_not_called_a_full_disk(
    raw_trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_fifth_copy(monkeypatch, OSError(errno.EIO, "input/output error"))
    with pytest.raises(OSError, match="input/output error"):
        prepare(RAF, raw_trees / "raf", tmp_path / "data")


def test_two_at_once_prepare_once(raw_trees: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: prepare(RAF, raw_trees / "raf", tmp_path / "data"), range(2)))
    assert sorted(done.reused for done in both) == [False, True]
    assert both[0].manifest == both[1].manifest


def test_sets_under_one_root_do_not_touch_each_other(raw_trees: Path, tmp_path: Path) -> None:
    prepare(RAF, raw_trees / "raf", tmp_path)
    before = files(tmp_path)
    prepare(WIKIMEDIA, raw_trees / "wikimedia", tmp_path)
    assert before.items() <= files(tmp_path).items()
