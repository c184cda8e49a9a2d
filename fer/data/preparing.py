"""From a download to the common tree: check every picture, copy it, write the manifest. The manifest comes last."""

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fer.data.images import ImageFacts, UnusableImage, inspect
from fer.data.manifest import ImageRow, Manifest, person_overlap, read_manifest
from fer.data.places import full_disk_said, locked, manifest_path, summary_path
from fer.data.sources import Candidate, DataSet, Scan
from fer.data.threads import all_cores
from fer.errors import DataError
from fer.expressions import EXPRESSIONS, code_of

VERSION = 2
"""Raised whenever the same download would give another tree, so that old trees are made anew."""


@dataclass(frozen=True)
class Prepared:
    """A prepared set.

    Attributes:
        manifest: Its images.
        source: The download it came from.
        left_out: (name in the download, reason) of what is not in the set.
        differences: Sentences on counts that differ from the known ones; empty when complete or unknown.
        reused: Whether nothing had to be done.
    """

    manifest: Manifest
    source: str
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
            "counts": self.manifest.counts(),
            "count_differences": self.differences,
            "left_out": self.left_out,
            "left_out_reasons": dict(Counter(reason for _, reason in self.left_out)),
            "repaired_or_converted": dict(Counter(row.notes for row in self.manifest.images if row.notes)),
        }


def prepare(dataset: DataSet, source: Path, root: Path) -> Prepared:
    """Prepare one data set; a second call with an unchanged download and tree does nothing.

    Args:
        dataset: What to prepare.
        source: The download's folder.
        root: The data root.

    Raises:
        DataError: The download is not this set's, holds no usable picture, or the disk is full.
    """
    scan = dataset.scan(source)
    fingerprint = _fingerprint(dataset, scan)
    root.mkdir(parents=True, exist_ok=True)
    with locked(root, dataset.name):
        if done := load_prepared(dataset, root, fingerprint):
            return done
        with full_disk_said(root):
            return _prepare(dataset, source, root, scan, fingerprint)


def load_prepared(dataset: DataSet, root: Path, fingerprint: str = "") -> Prepared | None:
    """Return a set prepared earlier, or None when it is absent, incomplete, or made from another download.

    Args:
        dataset: Which set.
        root: The data root.
        fingerprint: Of the download it must have come from; empty accepts any.
    """
    try:
        stored = json.loads(summary_path(root, dataset.name).read_text(encoding="utf-8"))
        manifest = read_manifest(manifest_path(root, dataset.name))
    except (OSError, ValueError, DataError):
        return None
    if not isinstance(stored, dict) or stored.get("version") != VERSION:
        return None
    if fingerprint and stored["fingerprint"] != fingerprint:
        return None
    if manifest.digest != stored["digest"] or not all(
        _same_size(root / row.path, row.bytes) for row in manifest.images
    ):
        return None
    left_out = tuple((name, reason) for name, reason in stored["left_out"])
    return Prepared(manifest, stored["source"], left_out, tuple(stored["count_differences"]), reused=True)


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
        except OSError:
            state = "missing"
        known = [str(getattr(candidate, item.name)) for item in fields(Candidate) if item.compare]
        content.update("\x1f".join([*known, state]).encode() + b"\n")
    return content.hexdigest()


def _prepare(dataset: DataSet, source: Path, root: Path, scan: Scan, fingerprint: str) -> Prepared:
    with tempfile.TemporaryDirectory(prefix=f".{dataset.name}-", dir=root) as name:
        draft = Path(name)
        rows, left_out = _copy_checked(dataset, scan, draft)
        if not rows:
            fault = f"; the first fault: {left_out[0][0]}: {left_out[0][1]}" if left_out else ""
            raise DataError(f"{source} holds no usable picture of {dataset.title}{fault}")
        manifest = Manifest(dataset.name, tuple(sorted(rows, key=lambda row: row.path)))
        if overlap := person_overlap(row for row in manifest.images if row.split in ("train", "test")):
            raise DataError(f"{dataset.title}: people stand in both training and test: {', '.join(sorted(overlap))}")
        result = Prepared(manifest, str(source), tuple(left_out), _differences(dataset, manifest), reused=False)
        _replace_tree(dataset, root, draft)
    summary = {"version": VERSION, "fingerprint": fingerprint, **result.summary()}
    partial = summary_path(root, dataset.name).with_suffix(".partial")
    partial.write_text(json.dumps(summary, indent=1, ensure_ascii=False), encoding="utf-8")
    partial.replace(summary_path(root, dataset.name))
    manifest.write(manifest_path(root, dataset.name))
    return result


def _replace_tree(dataset: DataSet, root: Path, draft: Path) -> None:
    """Put the draft in the old tree's place; without its manifest the set counts as not prepared meanwhile."""
    manifest_path(root, dataset.name).parent.mkdir(parents=True, exist_ok=True)
    manifest_path(root, dataset.name).unlink(missing_ok=True)
    for part in ("train", "test"):
        place = root / part / dataset.name
        if place.exists():
            place.rename(draft / f"old-{part}")
        if (draft / part).exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            (draft / part).rename(place)


def _copy_checked(dataset: DataSet, scan: Scan, draft: Path) -> tuple[list[ImageRow], list[tuple[str, str]]]:
    """Copy every candidate into the draft and check it there, on all cores; remove again what is left out."""
    left_out = list(scan.left_out)
    claims: dict[str, Candidate] = {}
    for candidate in scan.candidates:
        if claims.setdefault(_place(candidate), candidate) is not candidate:
            left_out.append((candidate.source_name, f"stands a second time as {candidate.name}"))
    for folder in {(draft / place).parent for place in claims}:
        folder.mkdir(parents=True)
    checked: list[tuple[Candidate, ImageFacts]] = []
    with all_cores() as pool:
        found = pool.map(_copy_and_check, claims.values(), (draft / place for place in claims))
        pairs = zip(claims.values(), found, strict=True)
        for candidate, facts in tqdm(pairs, f"prepare {dataset.name}", len(claims), unit="image"):
            if isinstance(facts, str):
                left_out.append((candidate.source_name, facts))
            else:
                checked.append((candidate, facts))
    if dataset.duplicates:
        checked, copies = _without_copies(checked)
        left_out += copies
    kept = {_place(candidate) for candidate, _ in checked}
    for place in claims.keys() - kept:
        (draft / place).unlink(missing_ok=True)
    return [_row(dataset, candidate, facts) for candidate, facts in checked], left_out


def _copy_and_check(candidate: Candidate, target: Path) -> ImageFacts | str:
    """Return a picture's facts, or the reason to leave it out."""
    try:
        if candidate.read:
            target.write_bytes(candidate.read())
        elif candidate.path.is_file():
            shutil.copyfile(candidate.path, target)
        facts = inspect(target)
    except UnusableImage as fault:
        return str(fault)
    return "entirely black" if facts.black else facts


def _without_copies(
    checked: list[tuple[Candidate, ImageFacts]],
) -> tuple[list[tuple[Candidate, ImageFacts]], list[tuple[str, str]]]:
    """Keep one of each group of pixel-identical pictures: in test if one is there, else in validation, else the first.

    Returns:
        What is kept, and (name, reason) of what is not.
    """
    rank = {"test": 0, "validation": 1, "train": 2}
    first: dict[str, Candidate] = {}
    for candidate, facts in sorted(checked, key=lambda pair: (rank[pair[0].split], pair[0].name)):
        first.setdefault(facts.pixels, candidate)
    kept = [(candidate, facts) for candidate, facts in checked if first[facts.pixels] is candidate]
    copies = [
        (candidate.source_name, f"the same pixels as a picture in {first[facts.pixels].split}")
        for candidate, facts in checked
        if first[facts.pixels] is not candidate
    ]
    return kept, copies


def _place(candidate: Candidate) -> str:
    """Return a picture's place inside the draft."""
    part = "test" if candidate.split == "test" else "train"
    return f"{part}/{code_of(candidate.expression)}/{candidate.name}"


def _row(dataset: DataSet, candidate: Candidate, facts: ImageFacts) -> ImageRow:
    part, rest = _place(candidate).split("/", 1)
    notes = ", ".join(note for note in (candidate.notes, facts.notes) if note)
    return ImageRow(
        path=f"{part}/{dataset.name}/{rest}",
        expression=candidate.expression,
        split=candidate.split,
        person=candidate.person,
        angle=candidate.angle,
        session=candidate.session,
        sha256=facts.sha256,
        bytes=facts.bytes,
        width=facts.width,
        height=facts.height,
        source_name=candidate.source_name,
        notes=notes,
        votes=candidate.votes,
    )


def _differences(dataset: DataSet, manifest: Manifest) -> tuple[str, ...]:
    """Compare the tree's counts with those of the complete set."""
    sentences = []
    for part, expected in dataset.known_counts.items():
        counts = manifest.of("test").counts() if part == "test" else manifest.of("train", "validation").counts()
        for expression, known in expected.items():
            found = sum(by_class[expression] for by_class in counts.values())
            if found != known:
                sentences.append(f"{part} {expression}: {found} of {known}")
    return tuple(sentences)
