"""Look credits up on Commons and join what its pages say with what the files say and what was known before."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from fer.attribution.claims import claim_notes
from fer.attribution.commons import METADATA_FIELDS, Commons, FilePage
from fer.attribution.credits import API, DOUBT, EMBEDDED, HAND, KEPT, Credit
from fer.attribution.plain_text import clean_name, file_title, html_to_text, one_line, web_address, without_contacts
from fer.data.datasets.wikimedia import ListedFile

PAGES = "https://commons.wikimedia.org/wiki/"
SEARCHES = "https://commons.wikimedia.org/w/index.php?ns6=1&search="
TAKEN = "2021-09-13"
"""Date of the 2021 project's last commit: a file changed later may show another picture."""
BY_NUMBER = "found by Flickr number"
"""Beginning of `Credit.title_source` where the title is only a guess."""
NOT_FREE = f"{DOUBT}Commons "
"""Beginning of the notes on why Commons itself doubts a licence."""
COMPARE = "compare the picture on its page"


def initial_credit(item: ListedFile) -> Credit:
    """Return the credit of a picture nobody has looked up: its likely title, and what the file itself says."""
    return Credit(
        file=item.file,
        pixels=item.pixels,
        title=item.title,
        page=_page_address(item.title) if item.title else f"{SEARCHES}{item.flickr_id}",
        author=item.author,
        credit=item.credit,
        source=EMBEDDED if item.author or item.credit else "",
        notes=(*claim_notes(item, item.author, ""), *_doubts(item, "", {})),
    )


def look_up(
    client: Commons,
    files: Sequence[ListedFile],
    known: Mapping[str, Credit],
    today: str,
    titles_by_hand: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Credit]:
    """Look every picture up by its title, or else by its Flickr number.

    Args:
        client: The API.
        files: The pictures.
        known: Credits by place in the set: a title there replaces the likely one, and what an earlier look-up proved
            stays where Commons no longer proves it.
        today: ISO date of the look-up.
        titles_by_hand: Titles that a person entered, by place in the set; they come before all others and are not in
            doubt.

    Returns:
        A credit of every picture by its place, resolved or not.

    Raises:
        DataError: The API cannot be reached or used, or says that it left out something.
    """
    earlier = {item.file: known.get(item.file, initial_credit(item)) for item in files}
    titles = {}
    for item in files:
        title = titles_by_hand.get(item.file) or earlier[item.file].title
        if title:
            titles[item.file] = file_title(title)
    pages = client.file_pages(list(titles.values()))
    credits = {}
    for item in files:
        before = earlier[item.file]
        page = FilePage("", {}, "its title is not known")
        if item.file in titles:
            page = _refuse_smaller(item, pages[titles[item.file]])
        if item.file in titles_by_hand:
            before, page = _apply_entered_title(item, before, page, titles[item.file], today)
        elif before.title_source.startswith(HAND):
            before = replace(before, title_source="")  # the person has taken the title back
        # A number is a guess, which must not replace what has been proven.
        if not page.info and item.flickr_id and not before.proven:
            before, page = _search_number(client, item, before, page)
        credits[item.file] = _join(item, before, page, today)
    return credits


def _refuse_smaller(item: ListedFile, page: FilePage) -> FilePage:
    """Return a page without its file where our crop is larger, so that it cannot come from it."""
    width = page.info.get("width", 0)
    height = page.info.get("height", 0)
    if page.info and (width < item.width or height < item.height):
        size = f"{width}x{height} pixels, smaller than the crop"
        return FilePage(page.title, {}, f"{page.title} cannot be the original: it has {size}")
    return page


def _apply_entered_title(
    item: ListedFile, before: Credit, page: FilePage, title: str, today: str
) -> tuple[Credit, FilePage]:
    """Return the earlier credit and the page once a person has entered a title that leads to that page."""
    if not page.info:
        return before, replace(page, fault=f"{title}, the title {HAND}: {page.fault}")
    entered = f"{HAND} as {title}"
    if before.title_source != entered and before.title not in (title, page.title):
        # What was known is another file's, and stays in the history only.
        fresh = initial_credit(replace(item, title=page.title))
        before = replace(fresh, history=(*before.history, *_replaced_values(before, fresh, today)))
    return replace(before, title_source=entered), page


def _search_number(client: Commons, item: ListedFile, before: Credit, missed: FilePage) -> tuple[Credit, FilePage]:
    """Search for a picture by its Flickr number; several hits decide nothing."""
    source = f"{BY_NUMBER} {item.flickr_id}"
    titles = client.titles_mentioning(item.flickr_id)
    if len(titles) > 1:
        several = f"several files on Commons were {source}: {', '.join(map(one_line, titles))}"
        return before, replace(missed, fault=f"{missed.fault}; {several}")
    if not titles:
        return before, missed
    page = _refuse_smaller(item, client.file_pages(titles)[titles[0]])
    return (replace(before, title_source=source) if page.info else before), page


def _join(item: ListedFile, before: Credit, page: FilePage, today: str) -> Credit:
    """Return the credit a page gives, or the earlier one where that proves more."""
    new = _credit_from_page(item, before, page, today) if page.info else None
    names = ("author", "licence")
    lost = [name for name in names if getattr(before, name) and not (new and getattr(new, name))]
    if before.source == API and lost:
        gone = f"Commons names no {' and no '.join(lost)} any more" if new else page.fault
        doubts = _doubts(item, before.title_source, _metadata(page.info))
        # A file that was not free does not become so by being deleted, or by a page that no longer says it.
        doubts += [note for note in before.notes if note.startswith(NOT_FREE) and note not in doubts]
        claims = claim_notes(item, before.author, before.licence)
        return replace(before, notes=(f"{KEPT}{before.looked_up}: {gone} ({today})", *doubts, *claims))
    if new:
        return replace(new, history=(*before.history, *_replaced_values(before, new, today)))
    # A title found earlier stays until it leads somewhere.
    fresh = initial_credit(replace(item, title=before.title))
    kept = {name: getattr(before, name) for name in ("sha1", "title_source", "history")}
    return replace(fresh, looked_up=today, notes=(*fresh.notes, page.fault), **kept)


def _replaced_values(before: Credit, new: Credit, today: str) -> list[str]:
    """Return what an earlier look-up had said and a new one replaces."""
    names = ("title", "author", "licence", "sha1") if before.source == API else ("title",)
    old = {name: getattr(before, name) for name in names}
    return [f'{today}: {name} was "{text}"' for name, text in old.items() if text and text != getattr(new, name)]


def _credit_from_page(item: ListedFile, before: Credit, page: FilePage, today: str) -> Credit:
    """Return the credit a page gives; without author or licence on it, it stays unresolved all the same."""
    metadata = _metadata(page.info)
    shown = {key: without_contacts(text) for key, text in metadata.items()}
    info = {key: one_line(str(page.info.get(key, ""))) for key in ("user", "sha1", "timestamp", "canonicaltitle")}
    # The uploader, `user`, is often not the author and never stands in for one.
    author = clean_name(shown["Attribution"]) or clean_name(shown["Artist"])
    licence = clean_name(metadata["LicenseShortName"]) or clean_name(metadata["UsageTerms"])
    licence_url = web_address(metadata["LicenseUrl"])
    if licence == before.licence and not licence_url:
        licence_url = before.licence_url
    title = info["canonicaltitle"] or one_line(page.title)
    notes = _page_notes(item, before.title_source, metadata, author, licence)
    if info["timestamp"][:10] > TAKEN:
        notes.append(f"changed on Commons since {TAKEN}: {COMPARE}")
    if any(shown[key] != metadata[key] for key in ("Attribution", "Artist", "Credit", "Restrictions")):
        notes.append("a telephone number or e-mail address was left out: see the page")
    return Credit(
        file=item.file,
        pixels=item.pixels,
        title=title,
        page=web_address(str(page.info.get("descriptionurl", ""))) or _page_address(title),
        author=author,
        licence=licence,
        licence_url=licence_url,
        credit=shown["Credit"],
        restrictions=shown["Restrictions"],
        uploader=info["user"],
        sha1=info["sha1"],
        revised=info["timestamp"],
        looked_up=today,
        source=API,
        title_source=before.title_source,
        notes=tuple(notes),
    )


def _page_notes(
    item: ListedFile, title_source: str, metadata: Mapping[str, str], author: str, licence: str
) -> list[str]:
    notes = [*_doubts(item, title_source, metadata), *claim_notes(item, author, licence)]
    if title_source.startswith(HAND):
        notes.append(f"title {title_source}")
    notes += [f"Commons names no {name}" for name, text in (("author", author), ("licence", licence)) if not text]
    # The pages of montages hold several authors, of whom the API gives the first.
    count = metadata["AuthorCount"]
    if count.isdecimal() and int(count) > len(re.split(r";|,|&|/| and ", author)):
        notes.append(f"Commons counts {count} authors, not all of them named here: see the page")
    return notes


def _doubts(item: ListedFile, title_source: str, metadata: Mapping[str, str]) -> list[str]:
    """Return notes on why a page may be another picture's, or its licence none."""
    doubts = []
    if title_source.startswith(BY_NUMBER):
        doubts.append(f"{DOUBT}title {title_source} only: {COMPARE}")
    elif item.doubt and not title_source.startswith(HAND):
        doubts.append(f"{DOUBT}{item.doubt}: {COMPARE}")
    if reason := metadata.get("DeletionReason"):
        doubts.append(f'{NOT_FREE}may delete the file: "{reason}"')
    if metadata.get("NonFree", "").casefold() not in ("", "0", "false"):
        doubts.append(f"{NOT_FREE}marks the file as not free")
    return doubts


def _metadata(info: Mapping[str, Any]) -> dict[str, str]:
    """Return the extended metadata as plain text; a field that is absent or of an odd type is empty."""
    entries = info.get("extmetadata")
    texts = dict.fromkeys(METADATA_FIELDS, "")
    # An empty set of them is a list in JSON.
    for key, entry in entries.items() if isinstance(entries, dict) else ():
        value = entry.get("value") if isinstance(entry, dict) else ""
        if isinstance(value, str | int):
            texts[key] = html_to_text(str(value))
    return texts


def _page_address(title: str) -> str:
    return f"{PAGES}{quote(title.replace(' ', '_'), safe=':')}"
