"""`attribution`: who made the Wikimedia pictures and under which licences: looked up, entered by hand, or shown."""

from dataclasses import replace
from pathlib import Path

from fer.attribution.commons import NO_TITLE
from fer.attribution.credits import (
    HAND,
    Credit,
    load_by_hand,
    load_credits,
    save_by_hand,
)
from fer.attribution.lookup import claim_notes
from fer.attribution.plain_text import author_name, file_title, plain, web_address
from fer.attribution.refresh import credits_summary, refresh, today, writing
from fer.config.commands import AttributionConfig
from fer.data.datasets.wikimedia import ListedFile, listed_files
from fer.errors import ConfigError, unknown_name
from fer.utils.paths import resolve_data_root

ENTRY = ("author", "licence", "licence_url", "source", "title")
"""Options of `set` alone."""


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
        refresh(root, config)
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
    item, given = _listed(config.file), _given(config)
    with writing(root):
        entries = load_by_hand(root)
        entry = _entry(item, entries.get(item.file), given)
        path = save_by_hand(root, entries | {item.file: entry})
    state = f"{entry.author}, {entry.licence}" if entry.proven else f"{entry.title}, which the next refresh looks up"
    print(f"{item.file}: {state} ({HAND}: {path})")


def remove(root: Path, file: str) -> None:
    """Remove what a person entered of one picture; what a look-up found counts again.

    Raises:
        ConfigError: The picture is not in the set, or nothing was entered of it.
        DataError: What was entered is damaged, or cannot be written.
    """
    item = _listed(file)
    with writing(root):
        entries = load_by_hand(root)
        if item.file not in entries:
            held = f": {', '.join(sorted(entries))} are" if entries else ", nor is any other picture's"
            raise ConfigError(f"no credit of {item.file} is {HAND}{held}")
        del entries[item.file]
        save_by_hand(root, entries)
    print(f"{item.file}: no longer {HAND}")


def _check_options(config: AttributionConfig) -> None:
    """Refuse options that the action would ignore."""
    named = [name for name in ENTRY if getattr(config, name)]
    if named and config.action != "set":
        raise ConfigError(f"{named[0]} belongs to `fer attribution set <picture>`, not to {config.action}")
    if config.file and config.action not in ("set", "unset"):
        raise ConfigError(f"{config.action} takes no picture: leave out {config.file!r}")


def _given(config: AttributionConfig) -> dict[str, str]:
    """Return what is to be entered, as plain text and addresses that can be linked."""
    given = {}
    for name in ENTRY:
        raw = getattr(config, name)
        is_address = name in ("source", "licence_url")
        text = web_address(raw) if is_address else author_name(plain(raw))
        if raw and not text:
            needed = "be a web address, such as https://example.org/page" if is_address else "hold letters or digits"
            raise ConfigError(f"{name} {raw!r} must {needed}")
        if text:
            given[name] = text
    return given


def _entry(item: ListedFile, earlier: Credit | None, given: dict[str, str]) -> Credit:
    """Join what is entered now with what was entered before into a whole credit, or a title to look up."""
    before = earlier or Credit(item.file, item.pixels)
    entry = replace(
        before,
        author=given.get("author", before.author),
        licence=given.get("licence", before.licence),
        licence_url=given.get("licence_url", before.licence_url),
        page=given.get("source", before.page),
        title=given.get("title", before.title),
        source=HAND,
        looked_up=today(),
    )
    needed = {"author": entry.author, "licence": entry.licence, "source": entry.page}
    missing = [name for name, text in needed.items() if not text]
    if not missing:
        return replace(entry, notes=tuple(claim_notes(item, entry.author, entry.licence, "the entry by hand")))
    if len(missing) < len(needed) or not entry.title or entry.licence_url:
        raise ConfigError(
            f"{item.file} also needs {', '.join(missing)}: give author, licence and source, or title alone"
        )
    title = file_title(entry.title)
    if NO_TITLE.search(title):
        raise ConfigError(f"title {entry.title!r} holds a character that no title on Commons may")
    return replace(entry, title=title)


def _listed(file: str) -> ListedFile:
    listed = {item.file: item for item in listed_files()}
    if not file:
        raise ConfigError("name the picture: `fer attribution set 6/Sword_of_Anger.jpg ...`")
    if file not in listed:
        raise ConfigError(unknown_name("picture", file, listed))
    return listed[file]
