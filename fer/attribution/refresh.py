"""Keep the data root's record of credits: look the Wikimedia pictures up, report what is known."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fer.attribution.commons import API_URL, Commons
from fer.attribution.credits import (
    HAND,
    Credit,
    by_hand_path,
    credits_path,
    load_by_hand,
    load_credits,
    load_record,
    save_credits,
)
from fer.attribution.lookup import look_up
from fer.data.datasets.wikimedia import listed_files
from fer.errors import ConfigError, FerError
from fer.utils.paths import data_lock, translate_disk_errors

ENTRY_HINT = (
    "  once a page is found, give its title with `fer attribution set <picture> --title <title>` and refresh, or enter "
    "the credit with --author, --licence and --source"
)


def refresh(root: Path, contact: str = "", api: str = "") -> None:
    """Look every picture up and write the data root's record; a look-up that fails leaves the record as it was.

    Args:
        root: The data root.
        contact: A page or e-mail address, for Wikimedia; empty: `$FER_CONTACT`.
        api: Address of an `api.php`; empty: that of Wikimedia Commons.

    Raises:
        ConfigError: The contact is missing or no plain text, or the address is none of the web.
        DataError: Commons cannot be reached, or the record is damaged or cannot be written.
    """
    client = Commons(_checked_contact(contact), api or API_URL)
    with lock_credits(root):
        titles = {}
        for file, credit in load_by_hand(root).items():
            # A whole credit entered by hand stands; the record below it is filled all the same, should it be removed.
            if not credit.proven:
                titles[file] = credit.title
        credits = look_up(client, listed_files(), load_record(root), today(), titles)
        save_credits(credits_path(root), credits)


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
    kept = sum(credit.kept for credit in credits.values())
    state = "as shipped, never looked up: `fer attribution refresh` does"
    if path.is_file():
        state = f"looked up: {path}"
    lines = [f"credits of {len(credits)} Wikimedia pictures: {resolved} resolved ({state})"]
    if entered:
        lines.append(f"  {entered} {HAND}: {by_hand_path(root)}")
    if kept:
        lines.append(f"  {kept} kept from an earlier look-up, because Commons no longer names author or licence")
    for credit in credits.values():
        if not credit.resolved:
            lines.append(f"  unresolved: {credit.file}: {credit.page}")
        # The notes of an unresolved picture stand below its line; others must name their picture.
        prefix = f"{credit.file}: " if credit.resolved else ""
        lines += [f"    {prefix}{note}" for note in (*credit.notes, *credit.history)]
    # Before the first look-up the advice would be premature.
    if resolved < len(credits) and path.is_file():
        lines.append(ENTRY_HINT)
    return "\n".join(lines)


@contextmanager
def lock_credits(root: Path) -> Iterator[None]:
    """Hold the lock under which credits are changed."""
    with translate_disk_errors(root), data_lock(root, "wikimedia_credits"):
        yield


def today() -> str:
    """Return the date in UTC, as ISO 8601 writes it."""
    return datetime.now(UTC).date().isoformat()


def _checked_contact(option: str) -> str:
    contact = option or os.environ.get("FER_CONTACT", "")
    if not contact:
        raise ConfigError(
            "Wikimedia asks whoever uses its API for a contact: pass contact=<a page or e-mail address of yours>, "
            "or set FER_CONTACT"
        )
    # It goes into a header between brackets.
    if not (contact.isascii() and contact.isprintable() and not set(contact) & set("()")):
        raise ConfigError(f"contact {contact!r} must be a page or an e-mail address, in plain letters")
    return contact
