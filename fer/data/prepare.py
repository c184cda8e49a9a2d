"""Prepare a data set: check every picture of a download, copy it into the common tree and write the manifest.

Everything is made in a draft beside the tree, and the manifest comes last: a set without one counts as not prepared.
"""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from fer.data.archives import unpack
from fer.data.datasets.base import Candidate, DataSet, Scan, WrongFolder
from fer.data.framing import frame_all
from fer.data.images import ImageFacts, inspect, refuse_large_file
from fer.data.manifest import ImageRow, Manifest, folder_of, person_overlap
from fer.data.prepared import FORMAT_VERSION, Prepared, count_differences, fingerprint, load_prepared
from fer.errors import DataError
from fer.portable.detection import Detector
from fer.portable.images import UnusableImage
from fer.utils.parallel import decode_within_budget, thread_pool
from fer.utils.paths import data_lock, manifest_path, printable, summary_path, translate_disk_errors

MANIFEST, SUMMARY = "manifest.csv", "summary.json"  # inside a draft
LONGEST_NAME = 255  # bytes, that every usual file system takes

LeftOut = list[tuple[str, str]]
MakeDetector = Callable[[], Detector]


def prepare(
    dataset: DataSet,
    source: Path,
    root: Path,
    detector: MakeDetector | None = None,
) -> Prepared:
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
    if dataset.framing is None:
        detector = None
    with translate_disk_errors(root):
        scan = None if source.is_file() else dataset.scan(source)
        wanted = fingerprint(dataset, source, scan)
        with data_lock(root, dataset.name):
            done = load_prepared(dataset, root, wanted, framing_name(detector))
            if done:
                return done
            # Beside the tree, where there is room for the set if anywhere.
            with tempfile.TemporaryDirectory(prefix=f".{dataset.name}-", dir=root) as name:
                draft = Path(name)
                if scan is None:
                    (draft / "unpacked").mkdir()
                    unpack(source, draft / "unpacked")
                    scan = _scan_unpacked(dataset, source, draft / "unpacked")
                prepared = _make_draft(dataset, source, scan, draft, detector)
                summary = {"version": FORMAT_VERSION, "fingerprint": wanted, **prepared.summary()}
                (draft / SUMMARY).write_text(json.dumps(summary, indent=1, ensure_ascii=False), encoding="utf-8")
                prepared.manifest.write(draft / MANIFEST)
                _replace_tree(dataset, root, draft)
                return prepared


def framing_name(detector: MakeDetector | None) -> str:
    """Return the value of the option `framing` that a detector, or none, amounts to."""
    return "auto" if detector else "none"


def _scan_unpacked(dataset: DataSet, archive: Path, folder: Path) -> Scan:
    """Scan an unpacked archive, below the folders it may have been packed with."""
    while True:
        try:
            return dataset.scan(folder)
        except DataError as error:
            # macOS adds its own folder to every archive.
            inside = [path for path in folder.iterdir() if path.is_dir() and path.name != "__MACOSX"]
            if len(inside) != 1 or not isinstance(error, WrongFolder):
                # The folder is temporary: the user knows the archive only.
                raise DataError(f"the archive {archive}: {str(error).replace(str(folder), 'it')}") from None
            folder = inside[0]


def _make_draft(
    dataset: DataSet,
    source: Path,
    scan: Scan,
    draft: Path,
    detector: MakeDetector | None,
) -> Prepared:
    """Copy, check and frame the pictures of a download."""
    rows, left_out = copy_checked(dataset, scan, draft)
    if not rows:
        raise DataError(f"{source} holds no usable picture of {dataset.title}{_main_fault(left_out)}")
    if detector and dataset.framing:
        rows = frame_all(rows, draft, dataset.framing, detector())
    manifest = Manifest(dataset.name, tuple(sorted(rows, key=lambda row: row.path)))
    # Who is known from training would flatter the figures on test.
    overlap = person_overlap(row for row in manifest.images if row.split != "validation")
    if overlap:
        people = ", ".join(sorted(overlap))
        raise DataError(f"{dataset.title}: people stand in both training and test: {people}")
    return Prepared(
        manifest=manifest,
        source=str(source),
        framing=framing_name(detector),
        left_out=tuple(left_out),
        differences=count_differences(dataset, manifest),
        reused=False,
    )


def _main_fault(left_out: LeftOut) -> str:
    """Return the most frequent reason and its first picture, to end a sentence with."""
    if not left_out:
        return ""
    most_frequent, _ = Counter(reason for _, reason in left_out).most_common(1)[0]
    first = next(name for name, reason in left_out if reason == most_frequent)
    return f"; the most frequent fault: {first}: {most_frequent}"


def _replace_tree(dataset: DataSet, root: Path, draft: Path) -> None:
    """Put the draft in the old tree's place."""
    # All that needs room was written into the draft; a full disk does not stop the renaming that is left half-way.
    manifest = manifest_path(root, dataset.name)
    parts = ("train", "test")
    for folder in (manifest.parent, *(root / part for part in parts)):
        folder.mkdir(parents=True, exist_ok=True)
    manifest.unlink(missing_ok=True)
    for part in parts:
        tree = root / part / dataset.name
        new_tree = draft / part / dataset.name
        # The old tree goes with the draft.
        if tree.exists():
            tree.rename(draft / f"old-{part}")
        if new_tree.exists():
            new_tree.rename(tree)
    (draft / SUMMARY).replace(summary_path(root, dataset.name))
    (draft / MANIFEST).replace(manifest)


def copy_checked(dataset: DataSet, scan: Scan, draft: Path) -> tuple[list[ImageRow], LeftOut]:
    """Copy every candidate into the draft and check it there, on all cores; remove again what is left out.

    Returns:
        The manifest's rows, and (printable name in the download, reason) of what is left out.
    """
    left_out = list(scan.left_out)
    candidates: dict[str, Candidate] = {}
    for candidate in scan.candidates:
        folder = folder_of(dataset.name, candidate.split, candidate.expression)
        path = f"{folder}/{candidate.name}"
        fault = _name_fault(candidate.name)
        if not fault and path in candidates:
            fault = f"stands a second time as {candidate.name}"
        if fault:
            left_out.append((candidate.source_name, fault))
        else:
            candidates[path] = candidate
    targets = [draft / path for path in candidates]
    for folder_path in {target.parent for target in targets}:
        folder_path.mkdir(parents=True)
    facts_of: dict[str, ImageFacts] = {}
    with thread_pool() as executor:
        results = executor.map(_copy_and_check, candidates.values(), targets)
        progress = tqdm(results, f"prepare {dataset.name}", len(candidates), unit="image")
        for path, facts in zip(candidates, progress, strict=True):
            if isinstance(facts, str):
                left_out.append((candidates[path].source_name, facts))
            else:
                facts_of[path] = facts
    if dataset.has_duplicates:
        for path, reason in _copies(candidates, facts_of).items():
            left_out.append((candidates[path].source_name, reason))
            del facts_of[path]
    # What is not in the manifest must not be in the tree.
    for path in candidates.keys() - facts_of.keys():
        (draft / path).unlink(missing_ok=True)
    rows = [_row(path, candidates[path], facts) for path, facts in facts_of.items()]
    return rows, [(printable(name), reason) for name, reason in left_out]


def _name_fault(name: str) -> str:
    """Return why a name, of which lists of labels may hold anything, cannot stand in tree and manifest; or nothing."""
    if printable(name) != name:
        return "its name is no UTF-8 text in one line"
    if name in ("", ".", "..") or "/" in name:
        return "its name is no file's name"
    return "its name is too long" if len(name.encode()) > LONGEST_NAME else ""


def _copy_and_check(candidate: Candidate, target: Path) -> ImageFacts | str:
    """Return a picture's facts, or the reason to leave it out."""
    try:
        if candidate.read:
            target.write_bytes(candidate.read())
        elif candidate.path.is_file():
            refuse_large_file(candidate.path)
            shutil.copyfile(candidate.path, target)
        # A file that is missing is named by `inspect`.
        facts = decode_within_budget(target, lambda: inspect(target))
    except UnusableImage as fault:
        return str(fault)
    return "entirely black" if facts.black else facts


def _copies(candidates: dict[str, Candidate], facts_of: dict[str, ImageFacts]) -> dict[str, str]:
    """Return the pictures that repeat another one's pixels, each with the reason to leave it out.

    One of each group is kept, in test if one is there, else in validation: what is tested on is not trained on.
    """
    ranks = {"test": 0, "validation": 1, "train": 2}
    kept: dict[str, str] = {}
    for path in sorted(facts_of, key=lambda path: (ranks[candidates[path].split], candidates[path].name)):
        kept.setdefault(facts_of[path].pixels, path)
    copies = {}
    for path, facts in facts_of.items():
        first = kept[facts.pixels]
        if path != first:
            copies[path] = f"the same pixels as a picture in {candidates[first].split}"
    return copies


def _row(path: str, candidate: Candidate, facts: ImageFacts) -> ImageRow:
    return ImageRow(
        path=path,
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
        notes=", ".join(filter(None, (candidate.notes, facts.notes))),
        votes=candidate.votes,
    )
