"""Read data sets prepared earlier: `prepare` writes a manifest of the images and a summary of how it went."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from fer.data.datasets.base import Candidate, DataSet, Scan
from fer.data.framing import NOT_FOUND
from fer.data.manifest import Manifest, read_manifest
from fer.errors import DataError
from fer.expressions import EXPRESSIONS
from fer.portable.json_files import check_kinds, read_object
from fer.utils.paths import manifest_path, summary_path

FORMAT_VERSION = 5
"""Raised whenever the same download would give another tree, so that older trees are prepared anew."""
KINDS: dict[str, Any] = {
    "version": int,
    "fingerprint": str,
    "digest": str,
    "source": str,
    "framing": str,
    "framed": dict[str, Any],
    "count_differences": tuple[str, ...],
    "left_out": tuple[tuple[str, ...], ...],
    "left_out_reasons": dict[str, Any],
    "repaired_or_converted": dict[str, Any],
}
"""Kinds of what is read of a summary; the rest is for people."""
EXAMPLES = 100
"""Pictures named of those left out for one reason; AffectNet leaves out more than 100,000."""


@dataclass(frozen=True)
class Prepared:
    """A prepared data set.

    Attributes:
        manifest: Its images.
        source: Path of the download it came from.
        framing: `auto` when its pictures were framed, else `none`.
        left_out: (name in the download, reason) of what is not in the set, of each reason `EXAMPLES` at most.
        left_out_reasons: How many are left out for each reason.
        differences: Sentences on counts that differ from the expected ones; empty when complete or unknown.
        reused: Whether nothing had to be done.
    """

    manifest: Manifest
    source: str
    framing: str
    left_out: tuple[tuple[str, str], ...]
    left_out_reasons: dict[str, int]
    differences: tuple[str, ...]
    reused: bool

    def summary(self) -> dict[str, Any]:
        """Return what `prepare` reports, and stores as JSON beside the manifest."""
        images = self.manifest.images
        return {
            "dataset": self.manifest.dataset,
            "digest": self.manifest.digest,
            "expressions": EXPRESSIONS,
            "source": self.source,
            "framing": self.framing,
            "framed": _counts(images.column("framed")),
            "counts": self.manifest.counts(),
            "count_differences": self.differences,
            "left_out": self.left_out,
            "left_out_reasons": self.left_out_reasons,
            "repaired_or_converted": _counts(images.column("notes")),
        }


def first_of_each_reason(left_out: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return `EXAMPLES` of what is left out for each reason, in the given order."""
    counts: Counter[str] = Counter()
    examples = []
    for name, reason in left_out:
        counts[reason] += 1
        if counts[reason] <= EXAMPLES:
            examples.append((name, reason))
    return tuple(examples)


def _counts(texts: Iterable[str]) -> dict[str, int]:
    return dict(Counter(filter(None, texts)))


def read_summary(root: Path, dataset: str) -> dict[str, Any]:
    """Read the summary of a prepared set.

    Raises:
        DataError: It is missing, damaged or of another version.
    """
    path = summary_path(root, dataset)
    try:
        summary = read_object(path)
        check_kinds(summary, KINDS)
        # Counts are summed, and whoever edits the file may have made texts of them.
        tables = {key: summary.get(key) for key in ("framed", "repaired_or_converted", "left_out_reasons")}
        for name, table in (tables | _object(summary.get("counts"))).items():
            check_kinds({name: tuple(_object(table).values())}, {name: tuple[int, ...]})
        # What another version calls by other names is missing here.
        fits = KINDS.keys() <= summary.keys() and summary["version"] == FORMAT_VERSION
    except (OSError, ValueError):
        fits = False
    if not fits:
        cure = f"run prepare again for {dataset!r}"
        raise DataError(f"{path} is missing, damaged or of another version of fer: {cure}")
    return summary


def _object(value: Any) -> dict[str, Any]:
    """Return a value that has to be names and values.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, dict):
        raise ValueError
    return value


def is_prepared(root: Path, dataset: str) -> bool:
    """Return whether a set was prepared by this version, without looking at its pictures."""
    try:
        read_summary(root, dataset)
    except DataError:
        return False
    # Without it a preparation was interrupted.
    return manifest_path(root, dataset).is_file()


def load_prepared(dataset: DataSet, root: Path, fingerprint: str = "", framing: str = "") -> Prepared | None:
    """Load a set prepared earlier.

    Args:
        dataset: Which set.
        root: The data root.
        fingerprint: Of the download it must have come from; empty accepts any.
        framing: `auto` or `none`, as it must have been prepared; empty accepts both.

    Returns:
        None when it is absent, incomplete, or of another version, framing or download.
    """
    try:
        summary = read_summary(root, dataset.name)
        prepared = Prepared(
            manifest=read_manifest(manifest_path(root, dataset.name)),
            source=summary["source"],
            framing=summary["framing"],
            left_out=tuple((name, reason) for name, reason in summary["left_out"]),
            left_out_reasons=summary["left_out_reasons"],
            differences=tuple(summary["count_differences"]),
            reused=True,
        )
        # Somebody may have deleted pictures or cut them short; hashing all would take minutes.
        sizes = prepared.manifest.images.columns("path", "bytes")
        # Path objects would take longer to make than a million files to look up.
        whole = all(os.stat(f"{root}/{path}").st_size == int(size) for path, size in sizes)  # noqa: PTH116
    except (OSError, ValueError, DataError):
        return None
    # Somebody may have edited the manifest.
    whole = whole and summary["digest"] == prepared.manifest.digest
    fits = fingerprint in ("", summary["fingerprint"]) and framing in ("", prepared.framing)
    return prepared if whole and fits else None


def preparation_counts(root: Path, dataset: str) -> dict[str, float]:
    """Return how many pictures of a prepared set were `left_out` and how many `repaired` or converted.

    Of a framed set also in how many a face was `not_found`.

    Raises:
        DataError: The summary is missing, damaged or of another version.
    """
    summary = read_summary(root, dataset)
    counts: dict[str, float] = {
        "left_out": sum(summary["left_out_reasons"].values()),
        "repaired": sum(summary["repaired_or_converted"].values()),
    }
    framed = summary["framed"]
    if framed:
        counts["not_found"] = sum(framed[how] for how in framed if how.startswith(NOT_FOUND))
    return counts


def fingerprint(dataset: DataSet, source: Path, scan: Scan | None) -> str:
    """Hash what a prepared tree depends on, without reading pictures.

    Args:
        dataset: Which set.
        source: The download.
        scan: What it holds, where it is a folder: labels, splits, and name, size and time of every file count then.
            None for an archive, of which its own name, size and time count.
    """
    content = hashlib.sha256(f"{FORMAT_VERSION} {dataset.name} {dataset.options}".rstrip().encode())
    if scan is None:
        content.update(f" {source.name} {_file_state(source)}".encode())
        return content.hexdigest()
    # All but `read`, which is no content: it is not compared either.
    values_of = attrgetter(*(field.name for field in fields(Candidate) if field.compare))
    path, state = None, ""
    for candidate in scan.candidates:
        # Neighbours may stand in one file.
        if candidate.path is not path:
            path = candidate.path
            state = _file_state(path)
        line = "\x1f".join([*map(str, values_of(candidate)), state])
        # Names may hold bytes that are no UTF-8.
        content.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return content.hexdigest()


def _file_state(path: Path) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError):  # a name may hold what no path can
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def count_differences(dataset: DataSet, manifest: Manifest) -> tuple[str, ...]:
    """Compare a prepared set's counts with those of the complete set, in one sentence for each that differs."""
    sentences = []
    for part, expected in dataset.expected_counts.items():
        # Validation is split off by us, so published counts hold it under train.
        splits = ("test",) if part == "test" else ("train", "validation")
        counts = Counter(manifest.of(*splits).images.column("expression"))
        for expression, complete in expected.items():
            if counts[expression] != complete:
                sentences.append(f"{part} {expression}: {counts[expression]} of {complete}")
    return tuple(sentences)
