"""Make a prepared set's contact sheet: logged where its pictures may be shown, else kept beside the prepared data."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fer.attribution.artifact import REFRESH_HINT, credited_sheet, credits_of
from fer.attribution.credits import Credit
from fer.data.datasets.base import DataSet
from fer.data.framing import read_thumbnail
from fer.data.manifest import ImageRow, Manifest
from fer.errors import DataError
from fer.evaluation.figures import contact_sheet
from fer.expressions import EXPRESSIONS
from fer.portable.images import UnusableImage
from fer.tracking.runs import TrackedRun
from fer.utils.atomic import atomic_path
from fer.utils.paths import contact_sheet_path, data_lock, manifest_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES_PER_EXPRESSION = 12
"""On a contact sheet, at most."""
LONGEST_SIDE = 256
"""Of the pictures a contact sheet is made of, in pixels: all of them are in memory at once."""


def make_contact_sheet(
    run: TrackedRun,
    dataset: DataSet,
    manifest: Manifest,
    root: Path,
    allow_unattributed: bool,
) -> str:
    """Log a set's contact sheet, with credits where its licences ask for them; else keep one under the data root.

    Args:
        run: The open run.
        dataset: The set.
        manifest: All its images.
        root: The data root.
        allow_unattributed: Whether pictures without a resolved credit may be shown.

    Returns:
        Nothing for a sheet that was logged, else why it was not, and where one lies.

    Raises:
        DataError: A picture can no longer be read, the record of credits is damaged, or the disk is full.
    """
    rows = sample_rows(dataset, manifest)
    credits: list[Credit] = []
    if dataset.credits:
        by_path = credits_of(manifest, root)
        credits = [by_path[row.path] for row in chain.from_iterable(rows.values())]
    reason = "" if dataset.showable or dataset.credits else "its pictures may not be shown"
    unresolved = sum(not credit.resolved for credit in credits)
    # A picture without its author's name may not be shown, though it may be trained and tested on.
    if unresolved and not allow_unattributed:
        state = f"{unresolved} of its {len(credits)} pictures are unresolved"
        reason = f"{state}: {REFRESH_HINT}, or give allow_unattributed=true"
    if reason:
        return f"{reason}; {_keep(dataset, rows, root)}"
    run.figure(_draw(dataset, rows, root, credits), f"contact_sheets/{dataset.name}.png")
    return ""


def _keep(dataset: DataSet, rows: dict[str, list[ImageRow]], root: Path) -> str:
    """Draw a sheet that is no part of a run, unless it is there since the set was prepared; return where it lies."""
    path = contact_sheet_path(root, dataset.name)
    prepared = manifest_path(root, dataset.name).stat().st_mtime
    if not path.is_file() or path.stat().st_mtime < prepared:
        sheet = _draw(dataset, rows, root, [])
        try:
            with data_lock(root, dataset.name), atomic_path(path) as partial:
                sheet.savefig(partial, format="png")
        except OSError as error:
            # Data that many share may be read only, which is no reason not to use them.
            return f"none could be kept at {path} either ({error.strerror})"
    return f"look at {path}, which may not be published"


def _draw(
    dataset: DataSet,
    rows: dict[str, list[ImageRow]],
    root: Path,
    credits: Sequence[Credit],
) -> "Figure":
    pictures = {}
    for expression, of_class in rows.items():
        pictures[expression] = [_thumbnail(row, root) for row in of_class]
    shown = {row.angle for row in chain.from_iterable(rows.values())}
    angles = ", ".join(angle for angle in dataset.angle_groups if angle in shown)
    title = f"{dataset.title}; angles from left to right: {angles}" if angles else dataset.title
    return credited_sheet(pictures, credits, title) if credits else contact_sheet(pictures, title)


def _thumbnail(row: ImageRow, root: Path) -> Image.Image:
    try:
        return read_thumbnail(row, root, LONGEST_SIDE)
    except UnusableImage as fault:
        # A picture of another size would have been noticed: the set would have been prepared anew.
        raise DataError(f"{root / row.path}: {fault}; delete it and run prepare again") from None


def sample_rows(dataset: DataSet, manifest: Manifest) -> dict[str, list[ImageRow]]:
    """Return images of each expression, at even distances in the manifest; of a set with camera angles all of them.

    Args:
        dataset: The set.
        manifest: All its images.
    """
    # A set without angles is one of a single angle, which has no name.
    angles = list(dataset.angle_groups) or [""]
    sampled = {}
    for expression in EXPRESSIONS:
        rows = manifest.images.where("expression", (expression,))
        chosen: list[ImageRow] = []
        for angle in angles:
            # The same number of each, so that every angle has its columns.
            chosen += evenly_sampled(rows.where("angle", (angle,)), PICTURES_PER_EXPRESSION // len(angles))
        sampled[expression] = chosen
    return sampled


def evenly_sampled(rows: Sequence[ImageRow], count: int) -> list[ImageRow]:
    """Return so many rows, from the first to the last at even distances, or all where there are no more."""
    # Neighbours are often of one person.
    indices = np.linspace(0, len(rows) - 1, min(count, len(rows))).round()
    return [rows[int(index)] for index in indices]
