"""Who made each Wikimedia picture and under which licence: the record shipped with the project, and a look-up's."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fer.data.places import disk_faults_said
from fer.errors import DataError

SHIPPED = Path(__file__).with_name("wikimedia_credits.json")
EMBEDDED = "embedded metadata"
API = "Commons API"
"""What `Credit.source` says: metadata inside the file, or an actual look-up."""
CONTRADICTION = "contradiction: "
"""Beginning of each note on sources that disagree about author or licence."""


@dataclass(frozen=True)
class Credit:
    """What is known of one picture's author and licence; what is not known is empty.

    Attributes:
        file: Place in the set, such as `6/Sword_of_Anger.jpg`.
        pixels: Hash of the crop's RGB pixels, as `fer.data.images.ImageFacts.pixels`.
        title: Title on Commons; likely but unconfirmed while unresolved.
        page: Address of the page to visit.
        author: As the licensor asks to be named, in plain text.
        licence: Short name, such as "CC BY-SA 3.0".
        licence_url: Address of its text; public-domain works have none.
        credit: The page's credit line, in plain text.
        restrictions: Beyond copyright, such as "personality".
        uploader: Who put the file on Commons, often not its author.
        sha1: Of the original file on Commons, of which ours is a crop.
        revised: ISO time of the revision looked at.
        looked_up: ISO date of the look-up; empty: never looked up.
        source: Where author and licence come from: `API`, `EMBEDDED` or nothing.
        changes: What was done to the original.
        notes: Contradictions between sources, doubts and renamed titles, in words.
    """

    file: str
    pixels: str
    title: str = ""
    page: str = ""
    author: str = ""
    licence: str = ""
    licence_url: str = ""
    credit: str = ""
    restrictions: str = ""
    uploader: str = ""
    sha1: str = ""
    revised: str = ""
    looked_up: str = ""
    source: str = ""
    changes: str = "cropped and resized"
    notes: tuple[str, ...] = ()

    @property
    def resolved(self) -> bool:
        """Whether title, author and licence are known from a look-up."""
        return self.source == API and all((self.looked_up, self.title, self.author, self.licence))


def shipped_credits() -> dict[str, Credit]:
    """Return the record that comes with the project, by place in the set; it holds only what has been proven."""
    return _read(SHIPPED)


def credits_path(root: Path) -> Path:
    """Return the place of a data root's own record."""
    return root / "manifests" / "wikimedia_credits.json"


def load_credits(root: Path) -> dict[str, Credit]:
    """Return the data root's record, which a look-up has filled, where there is one, else the shipped one.

    Raises:
        DataError: The data root's record is damaged.
    """
    path = credits_path(root)
    return _read(path) if path.is_file() else shipped_credits()


def save_credits(root: Path, credits: Mapping[str, Credit]) -> Path:
    """Write the data root's record; whatever interrupts it, the old or the new one stands there whole.

    Raises:
        DataError: The disk is full or may not be written.
    """
    path = credits_path(root)
    with disk_faults_said(root):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".credits-", dir=root) as draft:
            written = Path(draft) / path.name
            written.write_text(as_json(credits), encoding="utf-8")
            written.replace(path)
    return path


def as_json(credits: Mapping[str, Credit]) -> str:
    """Return credits as the text of a record: one line a picture, without its empty fields."""
    lines = []
    for name in sorted(credits):
        known = {key: value for key, value in asdict(credits[name]).items() if value}
        lines.append(json.dumps(known, ensure_ascii=False))
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _read(path: Path) -> dict[str, Credit]:
    try:
        found = [_credit(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no record of credits ({error}): delete it and refresh the attribution") from None
    return {credit.file: credit for credit in found}


def _credit(entry: dict[str, Any]) -> Credit:
    credit = Credit(**entry | {"notes": tuple(entry.get("notes", ()))})
    texts = [getattr(credit, item.name) for item in fields(Credit) if item.name != "notes"]
    if not all(isinstance(text, str) for text in (*texts, *credit.notes)):
        raise TypeError(f"{credit.file} holds what is no text")
    return credit
