"""Match the credits that are known with the images of a prepared set."""

from pathlib import Path

from fer.attribution.credits import Credit, load_credits
from fer.attribution.formats import sanitize
from fer.data.images import inspect
from fer.data.manifest import Manifest
from fer.errors import DataError
from fer.portable.images import UnusableImage

REFRESH_HINT = "look them up with `fer attribution refresh`"
"""What to do about unresolved pictures."""


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
