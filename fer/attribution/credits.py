"""Store authors and licences of the Wikimedia pictures: the shipped record, a look-up's, and what people entered."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fer.errors import DataError
from fer.utils.atomic import atomic_path
from fer.utils.paths import translate_disk_errors

VERSION = 1
"""Of the format of a record."""
COMMONS = "https://commons.wikimedia.org"
SHIPPED = Path(__file__).with_name("wikimedia_credits.json")
EMBEDDED = "embedded metadata"
API = "Commons API"
HAND = "entered by hand"
"""Values of `Credit.source`: metadata inside the file, an actual look-up, a person."""
CONTRADICTION = "contradiction: "
"""Beginning of each note on sources that disagree about author or licence."""
DOUBT = "in doubt: "
"""Beginning of each note on why the page may be another picture's, or its licence none; it leaves unresolved."""
KEPT = "kept from the look-up of "
"""Beginning of the note on a credit that Commons no longer proves."""


@dataclass(frozen=True)
class Credit:
    """Author and licence of a picture; what is not known is empty.

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
        title_source: "entered by hand as" and the title, where a person said under which to look the picture up.
        changes: Made to the original.
        notes: Contradictions between sources and doubts; each look-up writes them anew.
        history: Values of earlier look-ups that a later one replaced, each with the date of the change.
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
        # A person has compared the picture; its page may be one without a title, on another site.
        if self.source == HAND:
            return self.proven
        is_doubted = any(note.startswith(DOUBT) for note in self.notes)
        return self.proven and bool(self.title) and not is_doubted

    @property
    def name(self) -> str:
        """The title as a person reads it, without the namespace."""
        return self.title.removeprefix("File:")

    @property
    def kept(self) -> bool:
        """Whether an earlier look-up proved this and the last one no longer did."""
        return any(note.startswith(KEPT) for note in self.notes)


def page_address(title: str) -> str:
    """Return the address of a page on Commons, such as that of `File:Sword of Anger.jpg`."""
    return f"{COMMONS}/wiki/{quote(title.replace(' ', '_'), safe=':')}"


def search_address(text: str) -> str:
    """Return the address of a search on Commons among files."""
    return f"{COMMONS}/w/index.php?ns6=1&search={quote(text, safe=':')}"


def shipped_credits() -> dict[str, Credit]:
    """Return the record that comes with the project, by place in the set; it holds only what has been proven."""
    return _read(SHIPPED, "install the project again")


def credits_path(root: Path) -> Path:
    """Return the path of a data root's own record."""
    return root / "manifests" / "wikimedia_credits.json"


def by_hand_path(root: Path) -> Path:
    """Return the path of what people entered, which no look-up writes."""
    return root / "manifests" / "wikimedia_credits_by_hand.json"


def load_credits(root: Path) -> dict[str, Credit]:
    """Return the credit of each picture: the one entered by hand, else that of `load_record`.

    Raises:
        DataError: One of the files is damaged.
    """
    credits = load_record(root)
    for file, credit in load_by_hand(root).items():
        # What is not proven is a title alone, which the next look-up uses.
        if credit.proven:
            credits[file] = credit
    return credits


def load_record(root: Path) -> dict[str, Credit]:
    """Return the data root's record, which a look-up has filled, where there is one, else the shipped one.

    Raises:
        DataError: The data root's record is damaged.
    """
    path = credits_path(root)
    if not path.is_file():
        return shipped_credits()
    return _read(path, "delete it and refresh the attribution")


def load_by_hand(root: Path) -> dict[str, Credit]:
    """Return what people entered: whole credits, or only titles under which to look a picture up.

    Raises:
        DataError: The file is damaged.
    """
    path = by_hand_path(root)
    if not path.is_file():
        return {}
    # Unlike a record it cannot be looked up again, so nobody is told to delete it.
    return _read(path, "mend it, or move it away and enter its credits again")


def save_credits(path: Path, credits: Mapping[str, Credit]) -> None:
    """Write a record, without empty fields; an interruption leaves the old one whole.

    Args:
        path: As `credits_path` or `by_hand_path`.
        credits: By place in the set.

    Raises:
        DataError: The disk is full or may not be written.
    """
    # One line a picture, in order, so that two records can be compared line by line.
    lines = []
    for file in sorted(credits):
        known = {key: value for key, value in asdict(credits[file]).items() if value}
        lines.append(json.dumps(known, ensure_ascii=False))
    text = ",\n".join(lines)
    with translate_disk_errors(path.parents[1]), atomic_path(path) as partial:
        partial.write_text(f'{{"version": {VERSION}, "credits": [\n{text}\n]}}\n', encoding="utf-8")


def _read(path: Path, remedy: str) -> dict[str, Credit]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        # The wording of notes is part of the format: `resolved` and `kept` read it.
        if record["version"] != VERSION:
            raise ValueError(f"format {record['version']}, not {VERSION}")
        credits = [_credit(entry) for entry in record["credits"]]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is no record of credits ({error}): {remedy}") from None
    return {credit.file: credit for credit in credits}


def _credit(entry: dict[str, Any]) -> Credit:
    # JSON has no tuples, which a frozen credit holds so that it can be compared and hashed.
    lists = {name: tuple(entry.get(name, ())) for name in ("notes", "history")}
    credit = Credit(**entry | lists)
    texts = [getattr(credit, item.name) for item in fields(Credit) if item.name not in lists]
    if not all(isinstance(text, str) for text in (*texts, *credit.notes, *credit.history)):
        raise TypeError(f"{credit.file} holds what is no text")
    return credit
