"""What a picture's own metadata say of its author and rights, held against a credit from elsewhere."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from fer.attribution.commons import Commons, Found
from fer.attribution.credits import API, CONTRADICTION, DOUBT, EMBEDDED, HAND, KEPT, Credit
from fer.attribution.embedded import UNFREE
from fer.attribution.plain_text import author_name, file_title, one_line, plain, web_address, without_contacts
from fer.data.datasets.wikimedia import ListedFile


def claim_notes(item: ListedFile, author: str, licence: str, other: str = "Commons") -> list[str]:
    """Return notes on what the file itself says and its credit does not.

    Args:
        item: The picture.
        author: As the credit names the author; empty: it names none.
        licence: Likewise; while it is empty, each of the file's own claims is noted.
        other: Who gives the credit.
    """
    notes = []
    for claim in item.claims.split("; ") if item.claims else []:
        said = f'the file itself says "{claim}"'
        if licence and _contradicts(claim, licence):
            notes.append(f'{CONTRADICTION}{said}, {other} "{licence}"')
        elif not licence and _unfree(claim):
            notes.append(f"{CONTRADICTION}{said}, which no licence accepted on Commons does")
        elif not licence:
            notes.append(said)
    named = f'the file itself names "{item.author}" as its author'
    if item.author and not author:
        notes.append(named)
    elif item.author and not _words(item.author) & _words(author):
        notes.append(f'{CONTRADICTION}{named}, {other} "{author}"')
    return notes


def _contradicts(claim: str, licence: str) -> bool:
    free = licence.casefold().startswith(("cc0", "public domain", "pd"))
    if claim in ("some rights reserved", "copyright claimed"):
        return free
    if claim in ("CC0", "public domain"):
        return not free
    return _unfree(claim) or claim.casefold() not in licence.casefold()


def _unfree(claim: str) -> bool:
    return claim in UNFREE or "-NC" in claim or "-ND" in claim


def _words(name: str) -> set[str]:
    return {word for word in re.findall(r"\w+", name.casefold()) if len(word) > 2}


PAGES = "https://commons.wikimedia.org/wiki/"
SEARCHES = "https://commons.wikimedia.org/w/index.php?ns6=1&search="
TAKEN = "2021-09-13"
"""Date of the 2021 project's last commit: a file changed later may show another picture."""
BY_NUMBER = "found by Flickr number"
"""Beginning of `Credit.title_source` where the title is only a guess."""
NOT_FREE = f"{DOUBT}Commons "
"""Beginning of the notes on why Commons itself doubts a licence."""
COMPARE = "compare the picture on its page"


def unlooked(item: ListedFile) -> Credit:
    """Return the credit of a picture nobody has looked up: its likely title, and what the file itself says."""
    page = _page(item.title) if item.title else f"{SEARCHES}{item.flickr_id}"
    return Credit(
        file=item.file, pixels=item.pixels, title=item.title, page=page, author=item.author, credit=item.credit,
        source=EMBEDDED if item.author or item.credit else "",
        notes=(*claim_notes(item, item.author, ""), *_doubts(item, "", {})),
    )  # fmt: skip


def look_up(
    client: Commons,
    files: Sequence[ListedFile],
    known: Mapping[str, Credit],
    today: str,
    by_hand: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Credit]:
    """Look every picture up, by title, and where that fails by the original's sha1 or the Flickr number.

    Args:
        client: The API.
        files: The pictures.
        known: Credits by place in the set: a title there replaces the likely one, and what an earlier look-up proved
            stays where Commons no longer proves it.
        today: ISO date of the look-up.
        by_hand: Titles that a person entered, by place in the set; they come before all others and are not in doubt.

    Returns:
        A credit of every picture by its place, resolved or not.

    Raises:
        DataError: The API cannot be reached or used, or says that it left out something.
    """
    earlier = {item.file: known.get(item.file, unlooked(item)) for item in files}
    titles = {item.file: by_hand.get(item.file) or earlier[item.file].title for item in files}
    asked = {file: file_title(title) for file, title in titles.items() if title}
    pages = client.files(list(asked.values()))
    credits = {}
    for item in files:
        before, title = earlier[item.file], asked.get(item.file, "")
        found = _fitting(item, pages[title]) if title else Found("", {}, "its title is not known")
        if item.file in by_hand:
            before, found = _entered(item, before, found, title, today)
        elif before.title_source.startswith(HAND):
            before = replace(before, title_source="")  # the person has taken the title back
        if not found.info:
            before, found = _elsewhere(client, item, before, found)
        credits[item.file] = _credit(item, before, found, today)
    return credits


def _entered(item: ListedFile, before: Credit, found: Found, title: str, today: str) -> tuple[Credit, Found]:
    """Return what is known of a picture and its page once a person has entered a title that leads to `found`."""
    entered = f"{HAND} as {title}"
    if not found.info:
        return before, replace(found, fault=f"{title}, the title {HAND}: {found.fault}")
    if before.title_source != entered and before.title not in (title, found.title):
        # What was known is another file's, and stays in the history only.
        fresh = unlooked(replace(item, title=found.title))
        before = replace(fresh, history=(*before.history, *_replaced(before, fresh, today)))
    return replace(before, title_source=entered), found


def _fitting(item: ListedFile, found: Found) -> Found:
    """Return what was found unless our crop cannot come from it."""
    width, height = (found.info.get(side, 0) for side in ("width", "height"))
    if found.info and (width < item.width or height < item.height):
        size = f"{width}x{height} pixels, smaller than the crop"
        return Found(found.title, {}, f"{found.title} cannot be the original: it has {size}")
    return found


def _elsewhere(client: Commons, item: ListedFile, before: Credit, missed: Found) -> tuple[Credit, Found]:
    """Look for a picture under another title than the one that missed; return what is known, and its page."""
    way, titles = f"found by sha1 {before.sha1}", []
    # The sha1 is that of the original, which only an earlier look-up can have told: our files are crops.
    if before.sha1:
        titles = client.with_sha1(before.sha1)
    # A number is a guess, which must not replace what has been proven.
    if not titles and item.flickr_id and not before.proven:
        way, titles = f"{BY_NUMBER} {item.flickr_id}", client.mentioning(item.flickr_id)
    if len(titles) > 1:
        several = f"several files on Commons were {way}: {', '.join(map(one_line, titles))}"
        missed = replace(missed, fault=f"{missed.fault}; {several}")
    if len(titles) != 1:
        return before, missed
    found = _fitting(item, client.files(titles)[titles[0]])
    # Where the same file has moved, what confirmed its title or cast doubt on it still holds.
    kept = not found.info or (before.title_source and not way.startswith(BY_NUMBER))
    return (before if kept else replace(before, title_source=way)), found


def _credit(item: ListedFile, before: Credit, found: Found, today: str) -> Credit:
    """Return the credit an answer gives, or the earlier one where that proves more."""
    new = _answered(item, before, found, today) if found.info else None
    lost = [name for name in ("author", "licence") if getattr(before, name) and not (new and getattr(new, name))]
    if before.source == API and lost:
        gone = f"Commons names no {' and no '.join(lost)} any more" if new else found.fault
        doubts = _doubts(item, before.title_source, found.info)
        # A file that was not free does not become so by being deleted, or by a page that no longer says it.
        doubts += [note for note in before.notes if note.startswith(NOT_FREE) and note not in doubts]
        claims = claim_notes(item, before.author, before.licence)
        return replace(before, notes=(f"{KEPT}{before.looked_up}: {gone} ({today})", *doubts, *claims))
    if new:
        return replace(new, history=(*before.history, *_replaced(before, new, today)))
    # A title found earlier stays until it leads somewhere.
    still = unlooked(replace(item, title=before.title))
    return replace(
        still, looked_up=today, sha1=before.sha1, title_source=before.title_source, history=before.history,
        notes=(*still.notes, found.fault),
    )  # fmt: skip


def _replaced(before: Credit, new: Credit, today: str) -> list[str]:
    """Return what an earlier look-up had said and a new one replaces."""
    known = ("title", "author", "licence", "sha1") if before.source == API else ("title",)
    old = {name: getattr(before, name) for name in known}
    return [f'{today}: {name} was "{text}"' for name, text in old.items() if text and text != getattr(new, name)]


def _answered(item: ListedFile, before: Credit, found: Found, today: str) -> Credit:
    """Return the credit an answer gives; without author or licence in it, it stays unresolved all the same."""
    info = found.info
    fields = {key: plain(_value(info, key)) for key in ("Attribution", "Artist", "Credit", "Restrictions")}
    shown = {key: without_contacts(text) for key, text in fields.items()}
    author = author_name(shown["Attribution"]) or author_name(shown["Artist"])
    licence = author_name(plain(_value(info, "LicenseShortName"))) or author_name(plain(_value(info, "UsageTerms")))
    licence_url = web_address(plain(_value(info, "LicenseUrl")))
    if licence == before.licence and not licence_url:
        licence_url = before.licence_url
    title = one_line(str(info.get("canonicaltitle") or found.title))
    notes = _notes(item, before.title_source, info, author, licence)
    if shown != fields:
        notes.append("a telephone number or e-mail address was left out: see the page")
    return Credit(
        file=item.file, pixels=item.pixels, title=title, author=author, licence=licence, licence_url=licence_url,
        page=web_address(str(info.get("descriptionurl", ""))) or _page(title), credit=shown["Credit"],
        restrictions=shown["Restrictions"], uploader=one_line(str(info.get("user", ""))), looked_up=today, source=API,
        sha1=one_line(str(info.get("sha1", ""))), revised=one_line(str(info.get("timestamp", ""))),
        title_source=before.title_source, notes=tuple(notes),
    )  # fmt: skip


def _notes(item: ListedFile, title_source: str, info: Mapping[str, Any], author: str, licence: str) -> list[str]:
    """Return what is to be said of an answer beside author and licence."""
    notes = [*_doubts(item, title_source, info), *claim_notes(item, author, licence)]
    if title_source and not title_source.startswith(BY_NUMBER):
        notes.append(f"title {title_source}")
    notes += [f"Commons names no {name}" for name, text in (("author", author), ("licence", licence)) if not text]
    # The pages of montages hold several authors, of whom the API gives the first.
    count = str(_field(info, "AuthorCount"))
    if count.isdecimal() and int(count) > len(re.split(r";|,|&|/| and ", author)):
        notes.append(f"Commons counts {count} authors, not all of them named here: see the page")
    if str(info.get("timestamp", ""))[:10] > TAKEN:
        notes.append(f"changed on Commons since {TAKEN}: {COMPARE}")
    return notes


def _doubts(item: ListedFile, title_source: str, info: Mapping[str, Any]) -> list[str]:
    """Return notes on why a page may be another picture's, or its licence none."""
    doubts = []
    if title_source.startswith(BY_NUMBER):
        doubts.append(f"{DOUBT}title {title_source} only: {COMPARE}")
    elif item.doubt and not title_source.startswith(HAND):
        doubts.append(f"{DOUBT}{item.doubt}: {COMPARE}")
    if reason := plain(_value(info, "DeletionReason")):
        doubts.append(f'{NOT_FREE}may delete the file: "{reason}"')
    if str(_field(info, "NonFree")).strip().casefold() not in ("", "0", "false"):
        doubts.append(f"{NOT_FREE}marks the file as not free")
    return doubts


def _page(title: str) -> str:
    return f"{PAGES}{quote(title.replace(' ', '_'), safe=':')}"


def _field(info: Mapping[str, Any], key: str) -> Any:
    """Return a field of the extended metadata, empty where there is none; an empty set of them is a list in JSON."""
    entries = info.get("extmetadata")
    entry = entries.get(key) if isinstance(entries, dict) else None
    return entry.get("value", "") if isinstance(entry, dict) else ""


def _value(info: Mapping[str, Any], key: str) -> str:
    value = _field(info, key)
    return value if isinstance(value, str) else ""
