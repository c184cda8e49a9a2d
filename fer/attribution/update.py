"""Update a data root's credits: look the pictures up, enter a credit by hand, and report what is known."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer.attribution.commons import Commons
from fer.attribution.credits import (
    HAND,
    Credit,
    by_hand_path,
    credits_path,
    load_by_hand,
    load_credits,
    load_record,
    lock_credits,
    save_credits,
)
from fer.attribution.lookup import claim_notes, look_up
from fer.attribution.plain_text import clean_name, file_title, html_to_text, web_address
from fer.data.datasets.wikimedia import ListedFile, listed_files
from fer.errors import ConfigError, FerError, unknown_name
from fer.utils.rendering import today

ADDRESSES = ("source", "licence_url")
"""Options that are web addresses; the others are names."""
NEEDED = {"author": "author", "licence": "licence", "source": "page"}
"""Options without which an entry is no credit, and the fields of `Credit` that hold them."""
INVALID_IN_TITLE = set("#<>[]|{}\ufffd")
"""In a request `|` would end the title, and `#` lead to another page."""
ENTRY_HINT = (
    "  once a page is found, give its title with `fer attribution set <picture> --title <title>` and refresh, or enter "
    "the credit with --author, --licence and --source"
)


def refresh(root: Path, contact: str = "") -> None:
    """Look every picture up and write the data root's record; a look-up that fails leaves the record as it was.

    Args:
        root: The data root.
        contact: A page or e-mail address, for Wikimedia; empty: `$FER_CONTACT`.

    Raises:
        ConfigError: The contact is missing or no plain text.
        DataError: Commons cannot be reached, or the record is damaged or cannot be written.
    """
    client = Commons(_checked_contact(contact))
    with lock_credits(root):
        titles = {}
        for file, credit in load_by_hand(root).items():
            # A whole credit entered by hand stands; the record below it is filled all the same, should it be removed.
            if not credit.proven:
                titles[file] = credit.title
        known = load_record(root)
        credits = look_up(client, listed_files(), known, today(), titles)
        save_credits(credits_path(root), credits)


def _checked_contact(option: str) -> str:
    contact = option or os.environ.get("FER_CONTACT", "")
    if not contact:
        raise ConfigError(
            "Wikimedia asks whoever uses its API for a contact: pass contact=<a page or e-mail address of yours>, "
            "or set FER_CONTACT"
        )
    # It goes into a header between brackets.
    is_plain = contact.isascii() and contact.isprintable()
    if not is_plain or set(contact) & set("()"):
        raise ConfigError(f"contact {contact!r} must be a page or an e-mail address, in plain letters")
    return contact


def credits_message(root: Path) -> str:
    """Look the credits up for `prepare`, where a failure is no reason to stop, and return what became of it."""
    try:
        refresh(root)
        return credits_summary(load_credits(root), root)
    except FerError as error:
        return f"credits not looked up: {error}; until then the record that comes with the project serves"


def credits_summary(credits: Mapping[str, Credit], root: Path) -> str:
    """Return how many pictures are resolved, then the notes on each and, for the unresolved, the page to visit."""
    path = credits_path(root)
    resolved = sum(credit.resolved for credit in credits.values())
    entered = sum(credit.source == HAND for credit in credits.values())
    state = "as shipped, never looked up: `fer attribution refresh` does"
    if path.is_file():
        state = f"looked up: {path}"
    lines = [f"credits of {len(credits)} Wikimedia pictures: {resolved} resolved ({state})"]
    if entered:
        lines.append(f"  {entered} {HAND}: {by_hand_path(root)}")
    for credit in credits.values():
        if not credit.resolved:
            lines.append(f"  unresolved: {credit.file}: {credit.page}")
        # The notes of an unresolved picture stand below its line; others must name their picture.
        prefix = f"{credit.file}: " if credit.resolved else ""
        lines += [f"    {prefix}{note}" for note in credit.notes]
    # Before the first look-up the advice would be premature.
    if resolved < len(credits) and path.is_file():
        lines.append(ENTRY_HINT)
    return "\n".join(lines)


def enter(root: Path, file: str, options: Mapping[str, str]) -> None:
    """Keep what a person says of one picture: a whole credit, or only the title under which to look it up.

    Args:
        root: The data root.
        file: The picture's place in the set.
        options: Of `author`, `licence`, `licence_url`, `source` (the page) and `title` those that were given.

    Raises:
        ConfigError: The picture is not in the set, or what was entered is incomplete or no text that can be shown.
        DataError: What was entered earlier is damaged, or cannot be written.
    """
    item = _listed_file(file)
    values: dict[str, Any] = {name: _checked(name, text) for name, text in options.items()}
    # The option `source` names the page; the field of that name says that a person entered the credit.
    values["page"] = values.pop("source", "")
    entry = _complete(item, Credit(file, item.pixels, looked_up=today(), **values))
    path = by_hand_path(root)
    with lock_credits(root):
        save_credits(path, load_by_hand(root) | {file: replace(entry, source=HAND)})
    state = f"{entry.title}, which the next refresh looks up"
    if entry.author:
        state = f"{entry.author}, {entry.licence}"
    print(f"{file}: {state} ({HAND}: {path})")


def _complete(item: ListedFile, entry: Credit) -> Credit:
    """Return an entry with its notes, or with the title it is to be looked up under.

    Raises:
        ConfigError: It is neither a whole credit nor a title alone.
    """
    missing = [option for option, field in NEEDED.items() if not getattr(entry, field)]
    if not missing:
        # An entry does not hide what the file itself says.
        notes = claim_notes(item, entry.author, entry.licence, "the entry by hand")
        return replace(entry, notes=tuple(notes))
    is_title_alone = len(missing) == len(NEEDED) and entry.title and not entry.licence_url
    if not is_title_alone:
        needs = ", ".join(missing)
        raise ConfigError(f"{item.file} also needs {needs}: give author, licence and source, or title alone")
    title = file_title(entry.title)
    if INVALID_IN_TITLE & set(title):
        raise ConfigError(f"title {entry.title!r} holds a character that no title on Commons may")
    return replace(entry, title=title)


def remove(root: Path, file: str) -> None:
    """Remove what a person entered of one picture; what a look-up found counts again.

    Raises:
        ConfigError: The picture is not in the set, or nothing was entered of it.
        DataError: What was entered is damaged, or cannot be written.
    """
    _listed_file(file)
    with lock_credits(root):
        entries = load_by_hand(root)
        if file not in entries:
            entered = ", ".join(sorted(entries)) or "none"
            raise ConfigError(f"no credit of {file} is {HAND}; entered are: {entered}")
        del entries[file]
        save_credits(by_hand_path(root), entries)
    print(f"{file}: no longer {HAND}")


def _listed_file(file: str) -> ListedFile:
    listed = {item.file: item for item in listed_files()}
    if not file:
        raise ConfigError("name the picture: `fer attribution set 6/Sword_of_Anger.jpg ...`")
    if file not in listed:
        raise ConfigError(unknown_name("picture", file, listed))
    return listed[file]


def _checked(name: str, option: str) -> str:
    """Return an option as plain text, or as an address that can be linked."""
    # It is shown and linked later, so it must survive what is done to a stranger's text.
    if name in ADDRESSES:
        text = web_address(option)
        requirement = "be a web address, such as https://example.org/page"
    else:
        text = clean_name(html_to_text(option))
        requirement = "hold letters or digits"
    if not text:
        raise ConfigError(f"{name} {option!r} must {requirement}")
    return text
