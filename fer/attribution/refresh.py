"""Look up who made the Wikimedia pictures and keep it in the data root's record; say what is known."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fer.attribution.commons import ADDRESS, Commons
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
from fer.config.commands import AttributionConfig
from fer.data.datasets.wikimedia import listed_files
from fer.errors import ConfigError, FerError
from fer.utils.paths import data_lock, translate_disk_errors

CURE = (
    "  once a page is found, give its title with `fer attribution set <picture> --title <title>` and refresh, or enter "
    "the credit with --author, --licence and --source"
)


def refresh(root: Path, config: AttributionConfig) -> None:
    """Look every picture up and write the data root's record; a look-up that fails leaves the record as it was.

    Raises:
        ConfigError: As `run`.
        DataError: As `run`.
    """
    client = Commons(_contact(config.contact), config.api or ADDRESS, config.timeout)
    with writing(root):
        entered = {file: credit.title for file, credit in load_by_hand(root).items() if not credit.proven}
        save_credits(root, look_up(client, listed_files(), load_record(root), today(), entered))


def credits_message(root: Path) -> str:
    """Look the credits up for `prepare`, where a failure is no reason to stop, and return what became of it."""
    try:
        refresh(root, AttributionConfig())
        return credits_summary(load_credits(root), root)
    except FerError as error:
        return f"credits not looked up: {error}; until then the record that comes with the project serves"


def credits_summary(credits: dict[str, Credit], root: Path) -> str:
    """Return how many pictures are resolved, then what is to be said of each and the page to visit."""
    resolved = sum(credit.resolved for credit in credits.values())
    where = credits_path(root)
    state = f"looked up: {where}" if where.is_file() else "as shipped, never looked up: `fer attribution refresh` does"
    lines = [f"credits of {len(credits)} Wikimedia pictures: {resolved} resolved ({state})"]
    if entered := sum(credit.source == HAND for credit in credits.values()):
        lines.append(f"  {entered} {HAND}: {by_hand_path(root)}")
    if kept := sum(credit.kept for credit in credits.values()):
        lines.append(f"  {kept} kept from an earlier look-up, because Commons no longer names author or licence")
    for credit in credits.values():
        if not credit.resolved:
            lines.append(f"  unresolved: {credit.file}: {credit.page}")
        notes = (*credit.notes, *credit.history)
        lines += [f"    {credit.file}: {note}" if credit.resolved else f"    {note}" for note in notes]
    if resolved < len(credits) and where.is_file():
        lines.append(CURE)
    return "\n".join(lines)


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Hold the lock under which credits are changed."""
    with translate_disk_errors(root), data_lock(root, "wikimedia_credits"):
        yield


def today() -> str:
    """Return the date in UTC, as ISO 8601 writes it."""
    return datetime.now(UTC).date().isoformat()


def _contact(option: str) -> str:
    contact = option or os.environ.get("FER_CONTACT", "")
    if not contact:
        raise ConfigError(
            "Wikimedia asks whoever uses its API for a contact: pass contact=<a page or e-mail address of yours>, "
            "or set FER_CONTACT"
        )
    if not (contact.isascii() and contact.isprintable() and not set(contact) & set("()")):
        raise ConfigError(f"contact {contact!r} must be a page or an e-mail address, in plain letters")
    return contact
