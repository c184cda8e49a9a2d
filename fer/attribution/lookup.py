"""Look credits up on Commons and join what its pages say with what the files say and what was known before."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from fer.attribution.claims import claim_notes
from fer.attribution.commons import METADATA_FIELDS, Commons, FilePage
from fer.attribution.credits import API, DOUBT, EMBEDDED, HAND, KEPT, Credit, page_address, search_address
from fer.attribution.plain_text import clean_name, file_title, html_to_text, one_line, web_address, without_contacts
from fer.data.datasets.wikimedia import ListedFile

TAKEN = "2021-09-13"
"""Date of the 2021 project's last commit: a file changed later may show another picture."""
NOT_FREE = f"{DOUBT}Commons "
"""Beginning of the notes on why Commons itself doubts a licence."""
SHOWN_FIELDS = ("Attribution", "Artist", "Credit", "Restrictions")
"""Fields in which people have left telephone numbers and e-mail addresses."""
COMPARE = "compare the picture on its page"


def initial_credit(item: ListedFile) -> Credit:
    """Return the credit of a picture nobody has looked up: its likely title, and what the file itself says."""
    return Credit(
        file=item.file,
        pixels=item.pixels,
        title=item.title,
        page=page_address(item.title) if item.title else search_address(item.flickr_id),
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
    """Look every picture up by its title.

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
        elif before.title_source:
            # The person has taken the title back, so a doubt about the likely one counts again.
            before = replace(before, title_source="")
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
        replaced = _replaced_values(before, fresh, today)
        before = replace(fresh, history=(*before.history, *replaced))
    return replace(before, title_source=entered), page


def _join(item: ListedFile, before: Credit, page: FilePage, today: str) -> Credit:
    """Return the credit a page gives, or the earlier one where that proves more."""
    new = _credit_from_page(item, before, page, today) if page.info else None
    lost = []
    for name in ("author", "licence"):
        if getattr(before, name) and not (new and getattr(new, name)):
            lost.append(name)
    if before.source == API and lost:
        gone = f"Commons names no {' and no '.join(lost)} any more" if new else page.fault
        return _keep(item, before, page, f"{gone} ({today})")
    if new:
        replaced = _replaced_values(before, new, today)
        return replace(new, history=(*before.history, *replaced))
    # A title found earlier stays until it leads somewhere.
    fresh = initial_credit(replace(item, title=before.title))
    return replace(
        fresh,
        # Where the title leads nowhere, a person may find the picture by its number on Flickr.
        page=search_address(item.flickr_id) if item.flickr_id else fresh.page,
        looked_up=today,
        sha1=before.sha1,
        title_source=before.title_source,
        history=before.history,
        notes=(*fresh.notes, page.fault),
    )


def _keep(item: ListedFile, before: Credit, page: FilePage, reason: str) -> Credit:
    """Return the earlier credit with a note on why it is kept."""
    doubts = _doubts(item, before.title_source, _metadata(page.info))
    for note in before.notes:
        # A file that was not free does not become so by being deleted, or by a page that no longer says it.
        if note.startswith(NOT_FREE) and note not in doubts:
            doubts.append(note)
    claims = claim_notes(item, before.author, before.licence)
    return replace(before, notes=(f"{KEPT}{before.looked_up}: {reason}", *doubts, *claims))


def _replaced_values(before: Credit, new: Credit, today: str) -> list[str]:
    """Return what an earlier look-up had said and a new one replaces."""
    # Without a look-up, author and licence are what the file itself says, which claim notes compare.
    names = ("title", "author", "licence", "sha1") if before.source == API else ("title",)
    lines = []
    for name in names:
        text = getattr(before, name)
        if text and text != getattr(new, name):
            lines.append(f'{today}: {name} was "{text}"')
    return lines


def _credit_from_page(item: ListedFile, before: Credit, page: FilePage, today: str) -> Credit:
    """Return the credit a page gives; without author or licence on it, it stays unresolved all the same."""
    metadata = _metadata(page.info)
    shown = {key: without_contacts(metadata[key]) for key in SHOWN_FIELDS}
    info = {key: one_line(value) for key, value in page.info.items() if isinstance(value, str)}
    # The uploader, `user`, is often not the author and never stands in for one.
    author = clean_name(shown["Attribution"]) or clean_name(shown["Artist"])
    licence = clean_name(metadata["LicenseShortName"]) or clean_name(metadata["UsageTerms"])
    licence_url = web_address(metadata["LicenseUrl"])
    if licence == before.licence and not licence_url:
        licence_url = before.licence_url
    title = info.get("canonicaltitle") or one_line(page.title)
    notes = _page_notes(item, before.title_source, metadata, author, licence)
    if info.get("timestamp", "")[:10] > TAKEN:
        notes.append(f"changed on Commons since {TAKEN}: {COMPARE}")
    if any(shown[key] != metadata[key] for key in SHOWN_FIELDS):
        notes.append("a telephone number or e-mail address was left out: see the page")
    return Credit(
        file=item.file,
        pixels=item.pixels,
        title=title,
        page=web_address(info.get("descriptionurl", "")) or page_address(title),
        author=author,
        licence=licence,
        licence_url=licence_url,
        credit=shown["Credit"],
        restrictions=shown["Restrictions"],
        uploader=info.get("user", ""),
        sha1=info.get("sha1", ""),
        revised=info.get("timestamp", ""),
        looked_up=today,
        source=API,
        title_source=before.title_source,
        notes=tuple(notes),
    )


def _page_notes(
    item: ListedFile, title_source: str, metadata: Mapping[str, str], author: str, licence: str
) -> list[str]:
    notes = [*_doubts(item, title_source, metadata), *claim_notes(item, author, licence)]
    if title_source:
        notes.append(f"title {title_source}")
    if not author:
        notes.append("Commons names no author")
    if not licence:
        notes.append("Commons names no licence")
    # The pages of montages hold several authors, of whom the API gives the first.
    count = metadata["AuthorCount"]
    if count.isdecimal() and int(count) > len(re.split(r";|,|&|/| and ", author)):
        notes.append(f"Commons counts {count} authors, not all of them named here: see the page")
    return notes


def _doubts(item: ListedFile, title_source: str, metadata: Mapping[str, str]) -> list[str]:
    """Return notes on why a page may be another picture's, or its licence none."""
    doubts = []
    if item.doubt and not title_source:
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
