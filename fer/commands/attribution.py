"""`attribution`: who made the Wikimedia pictures and under which licences, looked up on Commons or shown as known."""

import os
from datetime import UTC, datetime
from pathlib import Path

from fer.config import AttributionConfig
from fer.data.commons import ADDRESS, Commons
from fer.data.credits import Credit, credits_path, load_credits, save_credits
from fer.data.lookup import look_up
from fer.data.places import data_root, locked
from fer.data.wikimedia_files import listed_files
from fer.errors import ConfigError, FerError


def run(config: AttributionConfig) -> dict[str, Credit]:
    """Fill the data root's record from Commons, or only read it; print how many pictures are resolved, and the rest.

    Returns:
        The credits by place in the set.

    Raises:
        ConfigError: The contact that a look-up needs is missing or no plain text.
        DataError: Commons cannot be reached, or the record is damaged or cannot be written.
    """
    root = data_root(config.data_root)
    credits = refresh(root, config) if config.action == "refresh" else load_credits(root)
    print(told(credits, root))
    return credits


def refresh(root: Path, config: AttributionConfig) -> dict[str, Credit]:
    """Look every picture up and write the data root's record; a look-up that fails leaves the record as it was.

    Raises:
        ConfigError: As `run`.
        DataError: As `run`.
    """
    client = Commons(_contact(config.contact), config.api or ADDRESS, config.timeout)
    with locked(root, "wikimedia_credits"):
        today = datetime.now(UTC).date().isoformat()
        credits = look_up(client, listed_files(), load_credits(root), today)
        save_credits(root, credits)
    return credits


def credits_told(root: Path) -> str:
    """Look the credits up for `prepare`, where a failure is no reason to stop, and return what became of it."""
    try:
        return told(refresh(root, AttributionConfig()), root)
    except FerError as error:
        return f"credits not looked up: {error}; until then the record that comes with the project serves"


def told(credits: dict[str, Credit], root: Path) -> str:
    """Return how many pictures are resolved, then each of the others with the page to visit."""
    resolved = sum(credit.resolved for credit in credits.values())
    where = credits_path(root)
    state = f"looked up: {where}" if where.is_file() else "as shipped, never looked up: `fer attribution refresh` does"
    lines = [f"credits of {len(credits)} Wikimedia pictures: {resolved} resolved ({state})"]
    for credit in credits.values():
        if not credit.resolved:
            lines.append(f"  unresolved: {credit.file}: {credit.page}")
        lines += [f"    {credit.file}: {note}" if credit.resolved else f"    {note}" for note in credit.notes]
    if resolved < len(credits) and where.is_file():
        lines.append(f'  once a page is found, put its title as "title" into {where} and refresh again')
    return "\n".join(lines)


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
