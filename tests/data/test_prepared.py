import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fer.data.datasets.base import Scan
from fer.data.datasets.registry import resolve_prepared
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.prepare import prepare
from fer.data.prepared import (
    EXAMPLES,
    FORMAT_VERSION,
    Prepared,
    is_prepared,
    load_prepared,
    preparation_counts,
    read_summary,
)
from fer.errors import DataError
from fer.utils.paths import manifest_path, summary_path


def lose_a_picture(root: Path, done: Prepared) -> None:
    (root / done.manifest.images[3].path).unlink()


def cut_a_picture(root: Path, done: Prepared) -> None:
    path = root / done.manifest.images[3].path
    path.write_bytes(path.read_bytes()[:-10])


def lose_the_tree(root: Path, done: Prepared) -> None:
    shutil.rmtree(root / "test")


def lose_the_manifest(root: Path, done: Prepared) -> None:
    manifest_path(root, "wikimedia").unlink()


def cut_the_manifest(root: Path, done: Prepared) -> None:
    path = manifest_path(root, "wikimedia")
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:-1]) + "\n", encoding="utf-8")


def relabel_in_the_manifest(root: Path, done: Prepared) -> None:
    path = manifest_path(root, "wikimedia")
    path.write_text(path.read_text(encoding="utf-8").replace(",fear,", ",anger,"), encoding="utf-8")


def lose_the_summary(root: Path, done: Prepared) -> None:
    summary_path(root, "wikimedia").unlink()


def empty_the_summary(root: Path, done: Prepared) -> None:
    summary_path(root, "wikimedia").write_text("{}")


def cut_the_summary(root: Path, done: Prepared) -> None:
    path = summary_path(root, "wikimedia")
    path.write_bytes(path.read_bytes()[:50])


def make_the_summary_a_list(root: Path, done: Prepared) -> None:
    summary_path(root, "wikimedia").write_text("[1, 2]")


def make_counts_of_the_summary_texts(root: Path, done: Prepared) -> None:
    path = summary_path(root, "wikimedia")
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"repaired_or_converted": {"converted to RGB": "three"}}), encoding="utf-8")


def spoil_the_counts_of_images(root: Path, done: Prepared) -> None:
    path = summary_path(root, "wikimedia")
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"counts": {"test": [1, 2]}}), encoding="utf-8")


def lose_a_key_of_the_summary(root: Path, done: Prepared) -> None:
    path = summary_path(root, "wikimedia")
    path.write_text(path.read_text(encoding="utf-8").replace('"left_out"', '"left"'), encoding="utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        lose_a_picture,
        cut_a_picture,
        lose_the_tree,
        lose_the_manifest,
        cut_the_manifest,
        relabel_in_the_manifest,
        lose_the_summary,
        empty_the_summary,
        cut_the_summary,
        make_the_summary_a_list,
        lose_a_key_of_the_summary,
    ],
)
def test_a_damaged_tree_is_prepared_anew(
    shrunk: tuple[Path, Path, Prepared], damage: Callable[[Path, Prepared], None]
) -> None:
    source, root, before = shrunk
    damage(root, before)
    assert load_prepared(WIKIMEDIA, root) is None
    after = prepare(WIKIMEDIA, source, root)
    assert not after.reused
    assert after.manifest == before.manifest
    pictures = {path.relative_to(root).as_posix() for path in (root / "test").rglob("*") if path.is_file()}
    assert pictures == {row.path for row in before.manifest.images}


@pytest.mark.parametrize(
    "damage",
    [
        lose_the_summary,
        empty_the_summary,
        cut_the_summary,
        make_the_summary_a_list,
        make_counts_of_the_summary_texts,
        lose_a_key_of_the_summary,
        spoil_the_counts_of_images,
    ],
)
def test_counts_of_a_damaged_summary_are_refused(
    shrunk: tuple[Path, Path, Prepared], damage: Callable[[Path, Prepared], None]
) -> None:
    _, root, done = shrunk
    converted = sum(row.notes != "" for row in done.manifest.images)
    assert preparation_counts(root, "wikimedia") == {"left_out": 0, "repaired": converted}
    damage(root, done)
    with pytest.raises(
        DataError,
        match=r"wikimedia\.json is missing, damaged or of another version of fer: run prepare again for 'wikimedia'",
    ):
        preparation_counts(root, "wikimedia")


@pytest.mark.parametrize("version", [FORMAT_VERSION - 1, FORMAT_VERSION + 1])
def test_a_set_of_another_version_is_refused_and_prepared_anew(
    shrunk: tuple[Path, Path, Prepared], version: int
) -> None:
    source, root, done = shrunk
    path = summary_path(root, "wikimedia")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": version}))
    assert not is_prepared(root, "wikimedia")
    assert load_prepared(WIKIMEDIA, root) is None
    for read in (read_summary, preparation_counts):
        with pytest.raises(DataError, match=r"wikimedia\.json is .* of another version of fer: run prepare again"):
            read(root, "wikimedia")
    for option in ("prepared", "wikimedia"):
        with pytest.raises(DataError, match="of another version of fer"):
            resolve_prepared(option, root)
    again = prepare(WIKIMEDIA, source, root)
    assert again == done
    assert is_prepared(root, "wikimedia")


def test_a_prepared_set_outlives_its_download(shrunk: tuple[Path, Path, Prepared]) -> None:
    source, root, done = shrunk
    shutil.rmtree(source)
    assert load_prepared(WIKIMEDIA, root) == replace(done, reused=True)


def test_nothing_prepared_is_none(tmp_path: Path) -> None:
    assert load_prepared(WIKIMEDIA, tmp_path) is None


def test_what_is_left_out_is_counted_and_the_first_of_each_reason_are_named(
    shrunk: tuple[Path, Path, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, root, _ = shrunk
    many = [(f"{number}.jpg", "labelled as no face") for number in range(3 * EXAMPLES)]

    def scan(folder: Path) -> Scan:
        found = WIKIMEDIA.scan(folder)
        return replace(found, left_out=[*many, *found.left_out, ("last.jpg", "uncertain")])

    done = prepare(replace(WIKIMEDIA, scan=scan), source, root / "other")
    assert done.left_out == (*many[:EXAMPLES], ("last.jpg", "uncertain"))
    assert done.left_out_reasons == {"labelled as no face": 3 * EXAMPLES, "uncertain": 1}
    assert preparation_counts(root / "other", "wikimedia")["left_out"] == 3 * EXAMPLES + 1
    again = load_prepared(WIKIMEDIA, root / "other")
    assert again
    assert again.summary() == done.summary()
