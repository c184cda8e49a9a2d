"""`attribution`: look up, enter or show who made the Wikimedia pictures and under which licences."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from fer.attribution.claims import claim_notes
from fer.attribution.commons import INVALID_IN_TITLE
from fer.attribution.credits import HAND, Credit, by_hand_path, load_by_hand, load_credits, save_credits
from fer.attribution.plain_text import clean_name, file_title, html_to_text, web_address
from fer.attribution.refresh import credits_summary, lock_credits, refresh, today
from fer.config.commands import AttributionConfig
from fer.data.datasets.wikimedia import ListedFile, listed_files
from fer.errors import ConfigError, unknown_name
from fer.utils.paths import resolve_data_root

ENTRY_OPTIONS = ("author", "licence", "licence_url", "source", "title")


def run(config: AttributionConfig) -> dict[str, Credit]:
    """Fill the data root's record from Commons, enter a credit by hand, or only read; print what is known.

    Returns:
        The credits by place in the set.

    Raises:
        ConfigError: The contact that a look-up needs is missing or no plain text, or an option does not fit the action.
        DataError: Commons cannot be reached, or the record is damaged or cannot be written.
    """
    root = resolve_data_root(config.data_root)
    _check_options(config)
    if config.action == "refresh":
        refresh(root, config.contact, config.api, config.timeout)
    elif config.action == "set":
        enter(root, config)
    elif config.action == "unset":
        remove(root, config.file)
    credits = load_credits(root)
    if config.action in ("show", "refresh"):
        print(credits_summary(credits, root))
    return credits


def enter(root: Path, config: AttributionConfig) -> None:
    """Keep what a person says of one picture: a whole credit, or only the title under which to look it up.

    Raises:
        ConfigError: The picture is not in the set, or what was entered is incomplete or no text that can be shown.
        DataError: What was entered earlier is damaged, or cannot be written.
    """
    item = _listed_file(config.file)
    values = _checked_values(config)
    path = by_hand_path(root)
    with lock_credits(root):
        entries = load_by_hand(root)
        entry = _entry(item, entries.get(item.file), values)
        save_credits(path, entries | {item.file: entry})
    state = f"{entry.title}, which the next refresh looks up"
    if entry.proven:
        state = f"{entry.author}, {entry.licence}"
    print(f"{item.file}: {state} ({HAND}: {path})")


def remove(root: Path, file: str) -> None:
    """Remove what a person entered of one picture; what a look-up found counts again.

    Raises:
        ConfigError: The picture is not in the set, or nothing was entered of it.
        DataError: What was entered is damaged, or cannot be written.
    """
    item = _listed_file(file)
    with lock_credits(root):
        entries = load_by_hand(root)
        if item.file not in entries:
            others = ", nor is any other picture's"
            if entries:
                others = f": {', '.join(sorted(entries))} are"
            raise ConfigError(f"no credit of {item.file} is {HAND}{others}")
        del entries[item.file]
        save_credits(by_hand_path(root), entries)
    print(f"{item.file}: no longer {HAND}")


def _check_options(config: AttributionConfig) -> None:
    """Refuse options that the action would ignore."""
    given = [name for name in ENTRY_OPTIONS if getattr(config, name)]
    if given and config.action != "set":
        raise ConfigError(f"{given[0]} belongs to `fer attribution set <picture>`, not to {config.action}")
    if config.file and config.action not in ("set", "unset"):
        raise ConfigError(f"{config.action} takes no picture: leave out {config.file!r}")


def _checked_values(config: AttributionConfig) -> dict[str, Any]:
    """Return what is to be entered, by field of `Credit`, as plain text and addresses that can be linked."""
    values: dict[str, Any] = {}
    for name in ENTRY_OPTIONS:
        option = getattr(config, name)
        if not option:
            continue
        # Both kinds are shown and linked later, so they must survive what is done to a stranger's text.
        if name in ("source", "licence_url"):
            text = web_address(option)
            requirement = "be a web address, such as https://example.org/page"
        else:
            text = clean_name(html_to_text(option))
            requirement = "hold letters or digits"
        if not text:
            raise ConfigError(f"{name} {option!r} must {requirement}")
        # The option `source` names the page; the field of that name says that a person entered the credit.
        values["page" if name == "source" else name] = text
    return values


def _entry(item: ListedFile, earlier: Credit | None, values: dict[str, Any]) -> Credit:
    """Join what is entered now with what was entered before into a whole credit, or a title to look up."""
    before = earlier or Credit(item.file, item.pixels)
    entry = replace(before, source=HAND, looked_up=today(), **values)
    needed = {"author": entry.author, "licence": entry.licence, "source": entry.page}
    missing = [name for name, text in needed.items() if not text]
    # An entry does not hide what the file itself says.
    if not missing:
        notes = claim_notes(item, entry.author, entry.licence, "the entry by hand")
        return replace(entry, notes=tuple(notes))
    is_title_alone = len(missing) == len(needed) and entry.title and not entry.licence_url
    if not is_title_alone:
        needs = ", ".join(missing)
        raise ConfigError(f"{item.file} also needs {needs}: give author, licence and source, or title alone")
    title = file_title(entry.title)
    if INVALID_IN_TITLE.search(title):
        raise ConfigError(f"title {entry.title!r} holds a character that no title on Commons may")
    return replace(entry, title=title)


def _listed_file(file: str) -> ListedFile:
    listed = {item.file: item for item in listed_files()}
    if not file:
        raise ConfigError("name the picture: `fer attribution set 6/Sword_of_Anger.jpg ...`")
    if file not in listed:
        raise ConfigError(unknown_name("picture", file, listed))
    return listed[file]
