"""Look credits up on Commons and join what its pages say with what the files say and what was known before."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fer.attribution.commons import METADATA_FIELDS, Commons, FilePage
from fer.attribution.credits import API, DOUBT, EMBEDDED, HAND, Credit, page_address, search_address
from fer.attribution.plain_text import clean_name, file_title, html_to_text, one_line, web_address, without_contacts
from fer.data.datasets.wikimedia import ListedFile

TAKEN = "2021-09-13"
"""Date of the 2021 project's last commit: a file changed later may show another picture."""
CONTRADICTION = "contradiction: "
"""Beginning of each note on sources that disagree about author or licence."""
KEPT = "kept from the look-up of "
"""Beginning of the note on a credit that Commons no longer proves."""
NOT_FREE = f"{DOUBT}Commons "
"""Beginning of the notes on why Commons itself doubts a licence."""
SHOWN_FIELDS = ("Attribution", "Artist", "Credit", "Restrictions")
"""Fields in which people have left telephone numbers and e-mail addresses."""
COMPARE = "compare the picture on its page"
UNFREE_CLAIMS = ("all rights reserved", "non-commercial", "no derivatives")
"""Claims that no licence accepted on Commons makes."""


def initial_credit(item: ListedFile) -> Credit:
    """Return the credit of a picture nobody has looked up: its likely title, and what the file itself says."""
    page = page_address(item.title) if item.title else search_address(item.flickr_id)
    return Credit(
        file=item.file,
        pixels=item.pixels,
        title=item.title,
        page=page,
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
    titles_by_hand: Mapping[str, str],
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
        DataError: The API cannot be reached or used.
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
            before, page = _apply_entered_title(item, before, page, titles[item.file])
        else:
            # A person may have taken a title back: a doubt about the likely one then counts again.
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


def _apply_entered_title(item: ListedFile, before: Credit, page: FilePage, title: str) -> tuple[Credit, FilePage]:
    """Return the earlier credit and the page once a person has entered a title that leads to that page."""
    if not page.info:
        return before, replace(page, fault=f"{title}, the title {HAND}: {page.fault}")
    if before.title not in (title, page.title):
        # What was known is another file's.
        before = initial_credit(replace(item, title=page.title))
    return replace(before, title_source=f"{HAND} as {title}"), page


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
        return new
    # A title found earlier stays until it leads somewhere.
    fresh = initial_credit(replace(item, title=before.title))
    return replace(
        fresh,
        # Where the title leads nowhere, a person may find the picture by its number on Flickr.
        page=search_address(item.flickr_id) if item.flickr_id else fresh.page,
        looked_up=today,
        sha1=before.sha1,
        title_source=before.title_source,
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
    kept = f"{KEPT}{before.looked_up}: {reason}"
    return replace(before, notes=(kept, *doubts, *claims))


def _credit_from_page(item: ListedFile, before: Credit, page: FilePage, today: str) -> Credit:
    """Return the credit a page gives; without author or licence on it, it stays unresolved all the same."""
    metadata = _metadata(page.info)
    shown = {key: without_contacts(metadata[key]) for key in SHOWN_FIELDS}
    info = {key: one_line(value) for key, value in page.info.items() if isinstance(value, str)}
    # The uploader, `user`, is often not the author and never stands in for one.
    author = clean_name(shown["Attribution"]) or clean_name(shown["Artist"])
    licence = clean_name(metadata["LicenseShortName"]) or clean_name(metadata["UsageTerms"])
    title = info.get("canonicaltitle") or one_line(page.title)
    revised = info.get("timestamp", "")
    notes = _doubts(item, before.title_source, metadata)
    notes += claim_notes(item, author, licence)
    if before.title_source:
        notes.append(f"title {before.title_source}")
    if not author:
        notes.append("Commons names no author")
    if not licence:
        notes.append("Commons names no licence")
    if revised[:10] > TAKEN:
        notes.append(f"changed on Commons since {TAKEN}: {COMPARE}")
    return Credit(
        file=item.file,
        pixels=item.pixels,
        title=title,
        page=web_address(info.get("descriptionurl", "")) or page_address(title),
        author=author,
        licence=licence,
        licence_url=web_address(metadata["LicenseUrl"]),
        credit=shown["Credit"],
        restrictions=shown["Restrictions"],
        uploader=info.get("user", ""),
        sha1=info.get("sha1", ""),
        revised=revised,
        looked_up=today,
        source=API,
        title_source=before.title_source,
        notes=tuple(notes),
    )


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
    """Return the extended metadata as plain text; a field that is absent is empty."""
    texts = dict.fromkeys(METADATA_FIELDS, "")
    # Without any, and where the API's extension for them failed, it gives an empty list instead of an object.
    entries = info.get("extmetadata") or {}
    for key, entry in entries.items():
        texts[key] = html_to_text(str(entry["value"]))
    return texts


def claim_notes(item: ListedFile, author: str, licence: str, other: str = "Commons") -> list[str]:
    """Compare what the file itself says of author and rights with its credit.

    Args:
        item: The picture.
        author: As the credit names the author; empty: it names none.
        licence: Likewise; while it is empty, each of the file's own claims is noted.
        other: Who gives the credit.
    """
    notes = []
    for claim in filter(None, item.claims.split("; ")):
        statement = f'the file itself says "{claim}"'
        if licence and _contradicts(claim, licence):
            notes.append(f'{CONTRADICTION}{statement}, {other} "{licence}"')
        elif not licence and _is_unfree(claim):
            notes.append(f"{CONTRADICTION}{statement}, which no licence accepted on Commons does")
        elif not licence:
            notes.append(statement)
    statement = f'the file itself names "{item.author}" as its author'
    if item.author and not author:
        notes.append(statement)
    elif item.author and not _words(item.author) & _words(author):
        notes.append(f'{CONTRADICTION}{statement}, {other} "{author}"')
    return notes


def _contradicts(claim: str, licence: str) -> bool:
    is_free = licence.casefold().startswith(("cc0", "public domain", "pd"))
    if claim in ("some rights reserved", "copyright claimed"):
        return is_free
    if claim in ("CC0", "public domain"):
        return not is_free
    return _is_unfree(claim) or claim.casefold() not in licence.casefold()


def _is_unfree(claim: str) -> bool:
    return claim in UNFREE_CLAIMS or "-NC" in claim or "-ND" in claim


def _words(name: str) -> set[str]:
    # Initials and particles are too short to tell two people apart.
    return {word for word in re.findall(r"\w+", name.casefold()) if len(word) > 2}
