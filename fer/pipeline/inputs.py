"""Log the data sets a run uses, with the credits of their pictures where their licences ask for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer.attribution.credits import Credit, load_credits
from fer.attribution.formats import attribution_files, sanitize, summary
from fer.data.datasets.registry import DATASETS
from fer.data.images import inspect
from fer.data.manifest import Manifest
from fer.errors import DataError
from fer.portable.images import UnusableImage
from fer.tracking.names import UNRESOLVED, dataset_tag
from fer.tracking.runs import TrackedRun

REFRESH_HINT = "look them up with `fer attribution refresh`"


def log_dataset(run: TrackedRun, manifest: Manifest, root: Path, context: str) -> Any:
    """Log a set as an input of a run and, if its licences ask for it, its pictures' credits beside it.

    Every command logs what it trains, tests or draws on through here, so that none can forget the credits.

    Args:
        run: The run.
        manifest: The set, or the part of it that was used.
        root: The data root it lies under.
        context: What it was used for, such as `training`.

    Returns:
        MLflow's handle of the set.

    Raises:
        DataError: A picture can no longer be read, or the data root's record of credits is damaged.
    """
    handle = run.dataset(manifest, root, context)
    dataset = DATASETS.get(manifest.dataset)
    if dataset and dataset.credits and manifest.images:
        log_credits(run, dataset.name, credits_of(manifest, root))
    return handle


def credits_of(manifest: Manifest, root: Path) -> dict[str, Credit]:
    """Return the credit of every image by its path under the data root; what is not known stands as unresolved.

    A credit belongs to pixels: it is found by file name, checked by pixel hash, and follows a file that was renamed.

    Raises:
        DataError: A picture can no longer be read, or the data root's record of credits is damaged.
    """
    known = load_credits(root)
    by_pixels = {credit.pixels: credit for credit in known.values()}
    credits: dict[str, Credit] = {}
    for row in manifest.images:
        # As the record names it: class folder and file.
        file = "/".join(row.path.split("/")[-2:])
        try:
            pixels = inspect(root / row.path).pixels
        except UnusableImage as fault:
            raise DataError(f"{root / row.path}: {fault}; run prepare again for {manifest.dataset!r}") from None
        credit = known.get(file)
        # Another picture under a known name must not get that one's author.
        if credit is None or credit.pixels != pixels:
            credit = by_pixels.get(pixels) or _unknown_credit(file, pixels, credit)
        credits[row.path] = sanitize(credit)
    return credits


def _unknown_credit(file: str, pixels: str, namesake: Credit | None) -> Credit:
    """Return the credit of a picture nobody looked up, perhaps under the name of one that somebody did."""
    if namesake is None:
        return Credit(file, pixels, notes=("the record of credits has no such picture",))
    doubt = "the file has other pixels than the picture of this name in the record of credits"
    return Credit(file, pixels, namesake.title, namesake.page, notes=(doubt,))


def log_credits(run: TrackedRun, dataset: str, credits: Mapping[str, Credit]) -> None:
    """Log the files of credits and the number of unresolved pictures, and print it."""
    listed = list(credits.values())
    for name, content in attribution_files(listed).items():
        run.text(content, f"attribution/{name}")
    unresolved = sum(not credit.resolved for credit in listed)
    run.tags({dataset_tag(dataset, UNRESOLVED): unresolved})
    hint = f"; {REFRESH_HINT}" if unresolved else ""
    print(f"attribution: {summary(listed)}{hint}")
