"""Store authors and licences of the Wikimedia pictures: the shipped record, a look-up's, and what people entered."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from fer.attribution.plain_text import html_to_text, one_line, web_address
from fer.errors import DataError, shortened
from fer.utils.atomic import atomic_path
from fer.utils.paths import data_lock, translate_disk_errors

VERSION = 2
"""Of the format of a record."""
COMMONS = "https://commons.wikimedia.org"
SHIPPED = Path(__file__).with_name("wikimedia_credits.json")
EMBEDDED = "embedded metadata"
API = "Commons API"
HAND = "entered by hand"
"""Values of `Credit.source`: metadata inside the file, an actual look-up, a person."""
DOUBT = "in doubt: "
"""Beginning of each note on why the page may be another picture's, or its licence none; it leaves unresolved."""


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

    @property
    def proven(self) -> bool:
        """Whether a look-up or a person named author and licence, be it of this picture or perhaps of another."""
        is_named = bool(self.looked_up and self.author and self.licence)
        return is_named and self.source in (API, HAND)

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


def page_address(title: str) -> str:
    """Return the address of a page on Commons, such as that of `File:Sword of Anger.jpg`."""
    return f"{COMMONS}/wiki/{quote(title.replace(' ', '_'), safe=':')}"


def search_address(text: str) -> str:
    """Return the address of a search on Commons among files."""
    return f"{COMMONS}/w/index.php?ns6=1&search={quote(text, safe=':')}"


def sanitize(credit: Credit) -> Credit:
    """Return a credit with plain text in every field, addresses that are safe to link, and a page to visit always."""
    texts = {}
    for field in fields(Credit):
        value = getattr(credit, field.name)
        if isinstance(value, str):
            texts[field.name] = _plain(value)
    # Without what looks like tags a picture could no longer be told by its file's name.
    texts["file"] = one_line(credit.file)
    texts["licence_url"] = web_address(credit.licence_url)
    likely_page = search_address(PurePosixPath(texts["file"]).stem.replace("_", " "))
    if texts["title"]:
        likely_page = page_address(texts["title"])
    texts["page"] = web_address(credit.page) or likely_page
    notes = tuple(filter(None, map(_plain, credit.notes)))
    return replace(credit, notes=notes, **texts)


def _plain(text: str) -> str:
    # In one line first: half a character, which JSON can hold, is more than the removal of markup takes.
    return html_to_text(one_line(text))


def shipped_credits() -> dict[str, Credit]:
    """Return the record that comes with the project, by place in the set; it holds only what has been proven."""
    return _read(SHIPPED, "install the project again")


def credits_path(root: Path) -> Path:
    """Return the path of a data root's own record."""
    return root / "manifests" / "wikimedia_credits.json"


def by_hand_path(root: Path) -> Path:
    """Return the path of what people entered, which no look-up writes."""
    return root / "manifests" / "wikimedia_credits_by_hand.json"


@contextmanager
def lock_credits(root: Path) -> Iterator[None]:
    """Hold the lock under which credits are changed."""
    with translate_disk_errors(root), data_lock(root, "wikimedia_credits"):
        yield


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
        # The wording of notes is part of the format: `resolved` reads it.
        if record["version"] != VERSION:
            raise ValueError(f"format {record['version']}, not {VERSION}")
        credits = [_credit(entry) for entry in record["credits"]]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is no record of credits ({shortened(str(error))}): {remedy}") from None
    return {credit.file: credit for credit in credits}


def _credit(entry: dict[str, Any]) -> Credit:
    # JSON has no tuples, which a frozen credit holds so that it can be compared and hashed.
    notes = tuple(entry.get("notes", ()))
    credit = Credit(**entry | {"notes": notes})
    texts = asdict(credit) | {"notes": "".join(notes)}
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError(f"{credit.file} holds what is no text")
    return credit
