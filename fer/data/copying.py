"""Copy the pictures of a download into a draft of the common tree, each checked, on all cores."""

import shutil
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from fer.data.datasets.base import Candidate, DataSet, Scan
from fer.data.images import ImageFacts, cut_face, inspect, refuse_large_file
from fer.data.manifest import ImageRow, folder_of
from fer.portable.detection import Box
from fer.portable.images import UnusableImage, read_with_notes
from fer.utils.parallel import decode_within_budget, thread_pool
from fer.utils.paths import printable

LONGEST_NAME = 255  # bytes, that every usual file system takes

LeftOut = list[tuple[str, str]]
"""(Name in the download, reason) of pictures that are not in the set."""


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
    notes: list[str] = []
    try:
        if candidate.box:
            notes = _copy_face(candidate, candidate.box, target)
        elif candidate.read:
            target.write_bytes(candidate.read())
        elif candidate.path.is_file():
            refuse_large_file(candidate.path)
            shutil.copyfile(candidate.path, target)
        # A file that is missing is named by `inspect`.
        facts = decode_within_budget(target, lambda: inspect(target))
    except UnusableImage as fault:
        return str(fault)
    if notes:
        facts = replace(facts, notes=", ".join(notes))
    return "entirely black" if facts.black else facts


def _copy_face(candidate: Candidate, box: Box, target: Path) -> list[str]:
    """Write the part of a picture around a face's box; return what had to be converted."""
    source = candidate.read() if candidate.read else candidate.path

    def cut() -> tuple[bytes, list[str]]:
        picture, notes = read_with_notes(source)
        return cut_face(picture, box), notes

    content, notes = decode_within_budget(source, cut)
    target.write_bytes(content)
    return notes


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
