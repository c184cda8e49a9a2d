"""Who made each Wikimedia picture and under which licence: the shipped record, a look-up's, and what people entered."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fer.errors import DataError
from fer.utils.paths import translate_disk_errors

SHIPPED = Path(__file__).with_name("wikimedia_credits.json")
EMBEDDED = "embedded metadata"
API = "Commons API"
HAND = "entered by hand"
"""What `Credit.source` says: metadata inside the file, an actual look-up, or a person."""
CONTRADICTION = "contradiction: "
"""Beginning of each note on sources that disagree about author or licence."""
DOUBT = "in doubt: "
"""Beginning of each note on why the page may be another picture's, or its licence none; it leaves unresolved."""
KEPT = "kept from the look-up of "
"""Beginning of the note on a credit that Commons no longer proves."""


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
        source: Where author and licence come from: `API`, `EMBEDDED`, `HAND` or nothing.
        title_source: How the title was found where it is not the file's own name, such as "Flickr number 4746058508".
        changes: What was done to the original.
        notes: Contradictions between sources and doubts, in words; each look-up writes them anew.
        history: What earlier look-ups had said and a later one replaced, each with the date of the change.
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
    title_source: str = ""
    changes: str = "cropped and resized"
    notes: tuple[str, ...] = ()
    history: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether a look-up or a person named author and licence, be it of this picture or perhaps of another."""
        return self.source in (API, HAND) and all((self.looked_up, self.author, self.licence))

    @property
    def resolved(self) -> bool:
        """Whether author and licence are proven to be this picture's, by its page's title or by a person."""
        if self.source == HAND:
            return self.proven
        return self.proven and bool(self.title) and not any(note.startswith(DOUBT) for note in self.notes)

    @property
    def kept(self) -> bool:
        """Whether an earlier look-up proved this and the last one no longer did."""
        return any(note.startswith(KEPT) for note in self.notes)


def shipped_credits() -> dict[str, Credit]:
    """Return the record that comes with the project, by place in the set; it holds only what has been proven."""
    return _read(SHIPPED, "install the project again")


def credits_path(root: Path) -> Path:
    """Return the place of a data root's own record."""
    return root / "manifests" / "wikimedia_credits.json"


def by_hand_path(root: Path) -> Path:
    """Return the place of what people entered, which no look-up writes."""
    return root / "manifests" / "wikimedia_credits_by_hand.json"


def load_credits(root: Path) -> dict[str, Credit]:
    """Return what is known of each picture: a credit entered by hand, else what `load_record` has.

    Raises:
        DataError: One of the files is damaged.
    """
    entered = {file: credit for file, credit in load_by_hand(root).items() if credit.proven}
    return load_record(root) | entered


def load_record(root: Path) -> dict[str, Credit]:
    """Return the data root's record, which a look-up has filled, where there is one, else the shipped one.

    Raises:
        DataError: The data root's record is damaged.
    """
    path = credits_path(root)
    return _read(path, "delete it and refresh the attribution") if path.is_file() else shipped_credits()


def load_by_hand(root: Path) -> dict[str, Credit]:
    """Return what people entered: whole credits, or only titles under which to look a picture up.

    Raises:
        DataError: The file is damaged.
    """
    path = by_hand_path(root)
    return _read(path, "mend it, or move it away and enter its credits again") if path.is_file() else {}


def save_credits(root: Path, credits: Mapping[str, Credit]) -> Path:
    """Write the data root's record; whatever interrupts it, the old or the new one stands there whole.

    Raises:
        DataError: The disk is full or may not be written.
    """
    return _write(root, credits_path(root), credits)


def save_by_hand(root: Path, credits: Mapping[str, Credit]) -> Path:
    """Write what people entered, in the same way.

    Raises:
        DataError: As `save_credits`.
    """
    return _write(root, by_hand_path(root), credits)


def _write(root: Path, path: Path, credits: Mapping[str, Credit]) -> Path:
    with translate_disk_errors(root):
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


def _read(path: Path, cure: str) -> dict[str, Credit]:
    try:
        found = [_credit(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is no record of credits ({error}): {cure}") from None
    return {credit.file: credit for credit in found}


def _credit(entry: dict[str, Any]) -> Credit:
    lists = {name: tuple(entry.get(name, ())) for name in ("notes", "history")}
    credit = Credit(**entry | lists)
    texts = [getattr(credit, item.name) for item in fields(Credit) if item.name not in lists]
    if not all(isinstance(text, str) for text in (*texts, *credit.notes, *credit.history)):
        raise TypeError(f"{credit.file} holds what is no text")
    return credit
