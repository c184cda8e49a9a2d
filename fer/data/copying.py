"""Copy the pictures of a download into a draft of the common tree, each checked, on all cores."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from fer.data.checked_copies import Copy, copy_pictures
from fer.data.datasets.base import Candidate, DataSet, Scan
from fer.data.images import ImageFacts
from fer.data.manifest import ImageRow, folder_of
from fer.utils.compact_rows import CompactRows
from fer.utils.parallel import map_on_all_cores
from fer.utils.paths import printable

LONGEST_NAME = 255  # bytes, that every usual file system takes

LeftOut = list[tuple[str, str]]
"""(Name in the download, reason) of pictures that are not in the set."""


def copy_checked(dataset: DataSet, scan: Scan, draft: Path) -> tuple[CompactRows[ImageRow], LeftOut]:
    """Copy every usable candidate into the draft, on all cores.

    Returns:
        The manifest's rows, and (printable name in the download, reason) of what is left out.
    """
    left_out = list(scan.left_out)
    accepted = list(_accepted(dataset, scan, left_out))
    for folder in {folder_of(dataset.name, candidate.split, candidate.expression) for candidate in accepted}:
        (draft / folder).mkdir(parents=True)
    pixels: list[str] = []

    def copy(candidates: Sequence[Candidate]) -> list[ImageFacts | str]:
        copies = [_copy(dataset, candidate, draft) for candidate in candidates]
        return copy_pictures(copies, hash_pixels=dataset.has_duplicates)

    def rows(results: Iterable[ImageFacts | str]) -> Iterator[ImageRow]:
        for candidate, facts in zip(accepted, results, strict=True):
            if isinstance(facts, str):
                left_out.append((candidate.source_name, facts))
            else:
                pixels.append(facts.pixels)
                yield _row(dataset, candidate, facts)

    with map_on_all_cores(copy, accepted) as results:
        progress = tqdm(results, f"prepare {dataset.name}", len(accepted), unit="image")
        copied = CompactRows(ImageRow, rows(progress))
    if dataset.has_duplicates:
        copied = _without_copies(copied, pixels, draft, left_out)
    return copied, [(printable(name), reason) for name, reason in left_out]


def _accepted(dataset: DataSet, scan: Scan, left_out: LeftOut) -> Iterator[Candidate]:
    """Yield the candidates that have a place of their own in the tree; note the others."""
    taken: dict[str, set[str]] = {}
    for candidate in scan.candidates:
        names = taken.setdefault(folder_of(dataset.name, candidate.split, candidate.expression), set())
        fault = _name_fault(candidate)
        if not fault and candidate.name in names:
            fault = f"stands a second time as {candidate.name}"
        if fault:
            left_out.append((candidate.source_name, fault))
        else:
            names.add(candidate.name)
            yield candidate


def _name_fault(candidate: Candidate) -> str:
    """Return why a name, of which lists of labels may hold anything, cannot stand in tree and manifest; or nothing."""
    name = candidate.name
    texts = f"{name}{candidate.source_name}{candidate.person}"
    if printable(texts) != texts:
        return "its name is no UTF-8 text in one line"
    if name in ("", ".", "..") or "/" in name:
        return "its name is no file's name"
    return "its name is too long" if len(name.encode()) > LONGEST_NAME else ""


def _copy(dataset: DataSet, candidate: Candidate, draft: Path) -> Copy:
    folder = folder_of(dataset.name, candidate.split, candidate.expression)
    return Copy(candidate.read or str(candidate.path), f"{draft}/{folder}/{candidate.name}", candidate.box)


def _without_copies(
    rows: CompactRows[ImageRow],
    pixels: Sequence[str],
    draft: Path,
    left_out: LeftOut,
) -> CompactRows[ImageRow]:
    """Remove and note the pictures that repeat another one's pixels.

    One of each group is kept, in test if one is there, else in validation: what is tested on is not trained on.
    """
    ranks = {"test": 0, "validation": 1, "train": 2}
    table = list(rows.columns("path", "split", "source_name", "expression"))

    def rank(index: int) -> tuple[int, str]:
        path, split, _, _ = table[index]
        return ranks[split], path.rpartition("/")[2]

    first_of: dict[str, int] = {}
    for index in sorted(range(len(table)), key=rank):
        first_of.setdefault(pixels[index], index)
    kept = []
    for index, (path, _, source_name, expression) in enumerate(table):
        first = first_of[pixels[index]]
        if index == first:
            kept.append(index)
        else:
            _, split, _, kept_as = table[first]
            # Which of two labels is right nobody knows; that they differ is worth a look.
            otherwise = "" if expression == kept_as else " that is labelled otherwise"
            left_out.append((source_name, f"the same pixels as a picture in {split}{otherwise}"))
            # What is not in the manifest must not be in the tree.
            (draft / path).unlink()
    return rows.at(kept)


def _row(dataset: DataSet, candidate: Candidate, facts: ImageFacts) -> ImageRow:
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
        notes=", ".join(filter(None, (candidate.notes, facts.notes))),
        votes=candidate.votes,
    )
