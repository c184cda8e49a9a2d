"""Enter the credit of a Wikimedia picture by hand, or remove what was entered."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer.attribution.claims import claim_notes
from fer.attribution.commons import INVALID_IN_TITLE
from fer.attribution.credits import HAND, Credit, by_hand_path, load_by_hand, save_credits
from fer.attribution.plain_text import clean_name, file_title, html_to_text, web_address
from fer.attribution.refresh import lock_credits, today
from fer.data.datasets.wikimedia import ListedFile, listed_files
from fer.errors import ConfigError, unknown_name

ADDRESSES = ("source", "licence_url")
"""Options that are web addresses; the others are names."""
NEEDED = {"author": "author", "licence": "licence", "source": "page"}
"""Options without which an entry is no credit, and the fields of `Credit` that hold them."""


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
    if "source" in values:
        values["page"] = values.pop("source")
    path = by_hand_path(root)
    with lock_credits(root):
        entries = load_by_hand(root)
        # An entry is mended in parts: what is not given now stays as it was entered before.
        earlier = entries.get(file, Credit(file, item.pixels))
        changed = replace(earlier, looked_up=today(), **values)
        entry = _complete(item, replace(changed, source=HAND))
        save_credits(path, entries | {file: entry})
    state = f"{entry.title}, which the next refresh looks up"
    if entry.proven:
        state = f"{entry.author}, {entry.licence}"
    print(f"{file}: {state} ({HAND}: {path})")


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
    if INVALID_IN_TITLE.search(title):
        raise ConfigError(f"title {entry.title!r} holds a character that no title on Commons may")
    return replace(entry, title=title)
