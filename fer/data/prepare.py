"""From a download to the common tree: check every picture, copy it, write the manifest. The manifest comes last."""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fer.data.archives import unpack
from fer.data.checks import copy_checked
from fer.data.datasets.base import Candidate, DataSet, Scan, WrongFolder
from fer.data.framing import NOT_FOUND, Framing, frame_all
from fer.data.manifest import ImageRow, Manifest, person_overlap, read_manifest
from fer.errors import DataError
from fer.expressions import EXPRESSIONS
from fer.portable.detection import Detector
from fer.portable.json_files import read_object
from fer.utils.paths import data_lock, manifest_path, summary_path, translate_disk_errors

VERSION = 4
"""Raised whenever the same download would give another tree, so that old trees are made anew."""
MANIFEST = "manifest.csv"
SUMMARY = "summary.json"
"""Names inside a draft."""


@dataclass(frozen=True)
class Prepared:
    """A prepared set.

    Attributes:
        manifest: Its images.
        source: The download it came from.
        framing: `auto` when its pictures were framed, else `none`.
        left_out: (name in the download, reason) of what is not in the set.
        differences: Sentences on counts that differ from the known ones; empty when complete or unknown.
        reused: Whether nothing had to be done.
    """

    manifest: Manifest
    source: str
    framing: str
    left_out: tuple[tuple[str, str], ...]
    differences: tuple[str, ...]
    reused: bool

    def summary(self) -> dict[str, Any]:
        """Return what `prepare` reports and stores as JSON beside the manifest."""
        return {
            "dataset": self.manifest.dataset,
            "digest": self.manifest.digest,
            "expressions": EXPRESSIONS,
            "source": self.source,
            "framing": self.framing,
            "framed": dict(Counter(row.framed for row in self.manifest.images if row.framed)),
            "counts": self.manifest.counts(),
            "count_differences": self.differences,
            "left_out": self.left_out,
            "left_out_reasons": dict(Counter(reason for _, reason in self.left_out)),
            "repaired_or_converted": dict(Counter(row.notes for row in self.manifest.images if row.notes)),
        }


def prepare(dataset: DataSet, source: Path, root: Path, detector: Callable[[], Detector] | None = None) -> Prepared:
    """Prepare one data set; a second call with an unchanged download and tree does nothing.

    Args:
        dataset: What to prepare.
        source: The download: a folder, or a zip or tar archive of one.
        root: The data root.
        detector: Makes what frames the pictures of sets that ask for it; None keeps all pictures as they come.

    Raises:
        DataError: The download is not this set's or holds no usable picture, the detector is not installed, or the disk
            is full or may not be written.
    """
    with translate_disk_errors(root):
        packed = source.is_file()
        scan = Scan() if packed else dataset.scan(source)
        wanted = detector if dataset.framing else None
        fingerprint = _archive_fingerprint(dataset, source) if packed else _fingerprint(dataset, scan)
        with data_lock(root, dataset.name):
            if done := load_prepared(dataset, root, fingerprint, framing_name(wanted)):
                return done
            if not packed:
                return _prepare(dataset, source, root, scan, fingerprint, wanted)
            with tempfile.TemporaryDirectory(prefix=f".{dataset.name}-unpacked-", dir=root) as folder:
                unpack(source, Path(folder))
                scan = _scan_unpacked(dataset, source, Path(folder))
                return _prepare(dataset, source, root, scan, fingerprint, wanted)


def load_prepared(dataset: DataSet, root: Path, fingerprint: str = "", framing: str = "") -> Prepared | None:
    """Return a set prepared earlier, or None when it is absent, incomplete, of another framing or another download.

    Args:
        dataset: Which set.
        root: The data root.
        fingerprint: Of the download it must have come from; empty accepts any.
        framing: `auto` or `none`, as it must have been prepared; empty accepts both.
    """
    try:
        stored = read_object(summary_path(root, dataset.name))
        if stored["version"] != VERSION or fingerprint not in ("", stored["fingerprint"]):
            return None
        if framing not in ("", stored["framing"]):
            return None
        manifest = read_manifest(manifest_path(root, dataset.name))
        intact = manifest.digest == stored["digest"] and all(
            _same_size(root / row.path, row.bytes) for row in manifest.images
        )
        left_out = tuple((name, reason) for name, reason in stored["left_out"])
        differences = tuple(stored["count_differences"])
        found = Prepared(manifest, stored["source"], stored["framing"], left_out, differences, reused=True)
    except (OSError, KeyError, TypeError, ValueError, DataError):
        return None
    return found if intact else None


def preparation_counts(root: Path, dataset: str) -> dict[str, float]:
    """Return how many pictures of a prepared set were `left_out` and how many `repaired` or converted.

    Of a framed set also in how many a face was `not_found`.

    Raises:
        DataError: What `prepare` wrote about the set is gone or damaged.
    """
    path = summary_path(root, dataset)
    try:
        stored = read_object(path)
        counts = {"left_out": len(stored["left_out"]), "repaired": sum(stored["repaired_or_converted"].values())}
        if framed := stored["framed"]:
            counts["not_found"] = sum(count for how, count in framed.items() if how.startswith(NOT_FOUND))
        return counts
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        raise DataError(f"{path} is missing or damaged: run prepare again for {dataset!r}") from None


def prepared_framing(root: Path, dataset: str) -> str:
    """Return the framing a set was prepared with, `auto` or `none`.

    Raises:
        DataError: What `prepare` wrote about the set is gone or damaged.
    """
    path = summary_path(root, dataset)
    try:
        return str(read_object(path)["framing"])
    except (OSError, KeyError, TypeError, ValueError):
        raise DataError(f"{path} is missing or damaged: run prepare again for {dataset!r}") from None


def _same_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _fingerprint(dataset: DataSet, scan: Scan) -> str:
    """Hash what the tree depends on: labels, splits, and name, size and time of every file."""
    content = hashlib.sha256(f"{VERSION} {dataset.name}".encode())
    for candidate in scan.candidates:
        try:
            status = candidate.path.stat()
            state = f"{status.st_size} {status.st_mtime_ns}"
        except (OSError, ValueError):  # a name may hold what no path can
            state = "missing"
        known = [str(getattr(candidate, item.name)) for item in fields(Candidate) if item.compare]
        content.update("\x1f".join([*known, state]).encode("utf-8", "surrogateescape") + b"\n")
    return content.hexdigest()


def _scan_unpacked(dataset: DataSet, archive: Path, folder: Path) -> Scan:
    """Read an unpacked archive, below the folders it may have been packed with."""
    while True:
        try:
            return dataset.scan(folder)
        except DataError as error:
            inside = [path for path in folder.iterdir() if path.is_dir() and path.name != "__MACOSX"]
            if len(inside) != 1 or not isinstance(error, WrongFolder):
                raise DataError(f"the archive {archive}: {str(error).replace(str(folder), 'it')}") from None
            folder = inside[0]


def _archive_fingerprint(dataset: DataSet, archive: Path) -> str:
    status = archive.stat()
    state = f"{VERSION} {dataset.name} {archive.name} {status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(state.encode()).hexdigest()


def framing_name(detector: Callable[[], Detector] | None) -> str:
    """Return the value of the option `framing` that a detector, or none, amounts to."""
    return "auto" if detector else "none"


def _framed(dataset: DataSet, draft: Path, rows: list[ImageRow], detector: Callable[[], Detector]) -> list[ImageRow]:
    """Return the rows of a draft with their frames; files stay as they are."""
    places = [draft / part / "/".join(rest) for part, _, *rest in (row.path.split("/") for row in rows)]
    return frame_all(rows, places, dataset.framing or Framing(), detector(), dataset.name)


def _prepare(
    dataset: DataSet,
    source: Path,
    root: Path,
    scan: Scan,
    fingerprint: str,
    detector: Callable[[], Detector] | None,
) -> Prepared:
    with tempfile.TemporaryDirectory(prefix=f".{dataset.name}-", dir=root) as name:
        draft = Path(name)
        rows, left_out = copy_checked(dataset, scan, draft)
        if not rows:
            raise DataError(f"{source} holds no usable picture of {dataset.title}{_main_fault(left_out)}")
        if detector:
            rows = _framed(dataset, draft, rows, detector)
        manifest = Manifest(dataset.name, tuple(sorted(rows, key=lambda row: row.path)))
        if overlap := person_overlap(row for row in manifest.images if row.split in ("train", "test")):
            raise DataError(f"{dataset.title}: people stand in both training and test: {', '.join(sorted(overlap))}")
        differences = _differences(dataset, manifest)
        result = Prepared(manifest, str(source), framing_name(detector), tuple(left_out), differences, reused=False)
        summary = {"version": VERSION, "fingerprint": fingerprint, **result.summary()}
        (draft / SUMMARY).write_text(json.dumps(summary, indent=1, ensure_ascii=False), encoding="utf-8")
        manifest.write(draft / MANIFEST)
        _replace_tree(dataset, root, draft)
    return result


def _main_fault(left_out: list[tuple[str, str]]) -> str:
    """Return the most frequent reason and its first picture, to end a sentence with."""
    if not left_out:
        return ""
    ((reason, _),) = Counter(reason for _, reason in left_out).most_common(1)
    return f"; the most frequent fault: {next(name for name, why in left_out if why == reason)}: {reason}"


def _replace_tree(dataset: DataSet, root: Path, draft: Path) -> None:
    """Put the draft in the old tree's place.

    All that needs room was written into the draft; what is left is renaming, which a full disk does not stop half-way.
    Without its manifest the set counts as not prepared meanwhile.
    """
    listed = manifest_path(root, dataset.name)
    parts = [part for part in ("train", "test") if (draft / part).exists()]
    for folder in (listed.parent, *(root / part for part in parts)):
        folder.mkdir(parents=True, exist_ok=True)
    listed.unlink(missing_ok=True)
    for part in ("train", "test"):
        place = root / part / dataset.name
        if place.exists():
            place.rename(draft / f"old-{part}")
        if part in parts:
            (draft / part).rename(place)
    (draft / SUMMARY).replace(summary_path(root, dataset.name))
    (draft / MANIFEST).replace(listed)


def _differences(dataset: DataSet, manifest: Manifest) -> tuple[str, ...]:
    """Compare the tree's counts with those of the complete set."""
    sentences = []
    for part, expected in dataset.expected_counts.items():
        counts = manifest.of("test").counts() if part == "test" else manifest.of("train", "validation").counts()
        for expression, known in expected.items():
            found = sum(by_class[expression] for by_class in counts.values())
            if found != known:
                sentences.append(f"{part} {expression}: {found} of {known}")
    return tuple(sentences)
