"""Copying a download's pictures into the draft of a tree, and judging each on the way."""

import shutil
from pathlib import Path

from tqdm import tqdm

from fer.data.datasets.base import Candidate, DataSet, Scan
from fer.data.images import ImageFacts, inspect, refuse_large_file
from fer.data.manifest import ImageRow, folder_of
from fer.expressions import code_of
from fer.portable.images import UnusableImage
from fer.utils.parallel import decode_within_budget, thread_pool
from fer.utils.paths import printable

LONGEST_NAME = 255
"""Bytes of a file's name that every usual file system takes."""


def copy_checked(dataset: DataSet, scan: Scan, draft: Path) -> tuple[list[ImageRow], list[tuple[str, str]]]:
    """Copy every candidate into the draft and check it there, on all cores; remove again what is left out.

    Returns:
        The manifest's rows, and (printable name in the download, reason) of what is left out.
    """
    left_out = list(scan.left_out)
    claims: dict[str, Candidate] = {}
    for candidate in scan.candidates:
        if fault := _name_fault(candidate.name):
            left_out.append((candidate.source_name, fault))
        elif claims.setdefault(_place(candidate), candidate) is not candidate:
            left_out.append((candidate.source_name, f"stands a second time as {candidate.name}"))
    for folder in {(draft / place).parent for place in claims}:
        folder.mkdir(parents=True)
    checked: list[tuple[Candidate, ImageFacts]] = []
    with thread_pool() as pool:
        found = pool.map(_copy_and_check, claims.values(), (draft / place for place in claims))
        pairs = zip(claims.values(), found, strict=True)
        for candidate, facts in tqdm(pairs, f"prepare {dataset.name}", len(claims), unit="image"):
            if isinstance(facts, str):
                left_out.append((candidate.source_name, facts))
            else:
                checked.append((candidate, facts))
    if dataset.has_duplicates:
        checked, copies = _without_copies(checked)
        left_out += copies
    kept = {_place(candidate) for candidate, _ in checked}
    for place in claims.keys() - kept:
        (draft / place).unlink(missing_ok=True)
    return [_row(dataset, *pair) for pair in checked], [(printable(name), reason) for name, reason in left_out]


def _name_fault(name: str) -> str:
    """Return why a name can stand neither in the tree nor in the manifest; empty if it can."""
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
        facts = decode_within_budget(target, lambda: inspect(target))
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
    notes = ", ".join(note for note in (candidate.notes, facts.notes) if note)
    return ImageRow(
        path=f"{folder_of(dataset.name, candidate.split, candidate.expression)}/{candidate.name}",
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
