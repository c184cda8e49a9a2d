"""Looking up the credits of the Wikimedia pictures on Commons, and what is said of them without a look-up."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from fer.data.commons import Commons, Found
from fer.data.credits import API, CONTRADICTION, EMBEDDED, Credit
from fer.data.embedded import UNFREE
from fer.data.plain_text import one_line, plain, web_address, without_contacts
from fer.data.wikimedia_files import ListedFile

PAGES = "https://commons.wikimedia.org/wiki/"
SEARCHES = "https://commons.wikimedia.org/w/index.php?ns6=1&search="
TAKEN = "2021-09-13"
"""Date of the 2021 project's last commit: a file changed later may show another picture."""
GONE = "no longer found on Commons"


def unlooked(item: ListedFile) -> Credit:
    """Return the credit of a picture nobody has looked up: its likely title, and what the file itself says."""
    page = _page(item.title) if item.title else f"{SEARCHES}{item.flickr_id}"
    return Credit(
        file=item.file, pixels=item.pixels, title=item.title, page=page, author=item.author, credit=item.credit,
        source=EMBEDDED if item.author or item.credit else "", notes=(*_claims_said(item), *_doubts(item)),
    )  # fmt: skip


def look_up(client: Commons, files: Sequence[ListedFile], known: Mapping[str, Credit], today: str) -> dict[str, Credit]:
    """Look every picture up, by title, and where that fails by the original's sha1 or the Flickr number.

    Args:
        client: The API.
        files: The pictures.
        known: Credits by place in the set: a title there replaces the likely one, and what an earlier look-up found
            stays where Commons no longer has it.
        today: ISO date of the look-up.

    Returns:
        A credit of every picture by its place, resolved or not.

    Raises:
        DataError: The API cannot be reached or used.
    """
    before = {item.file: known.get(item.file, unlooked(item)) for item in files}
    titles = {item.file: before[item.file].title for item in files}
    direct = client.files([title for title in titles.values() if title])
    found = {item.file: _fitting(item, direct.get(titles[item.file])) for item in files}
    others, notes = {}, {}
    for item in files:
        if not found[item.file].info:
            others[item.file], notes[item.file] = _other_title(client, item, before[item.file])
    renamed = client.files([title for title in others.values() if title])
    result = {}
    for item in files:
        if others.get(item.file):
            found[item.file] = _fitting(item, renamed[others[item.file]])
        if found[item.file].info:
            extra = [notes[item.file]] if notes.get(item.file) else []
            if found[item.file].redirected:
                extra.append(f"renamed on Commons: was {titles[item.file]}")
            result[item.file] = _resolved(item, found[item.file], before[item.file], today, extra)
        else:
            faults = [text for text in (found[item.file].fault, notes.get(item.file, "")) if text]
            result[item.file] = _unresolved(item, before[item.file], today, faults)
    return result


def _fitting(item: ListedFile, found: Found | None) -> Found:
    """Return what was found unless our crop cannot come from it."""
    if found is None:
        return Found("", {}, fault="its title is not known")
    width, height = (found.info.get(side, 0) for side in ("width", "height"))
    if found.info and (width < item.width or height < item.height):
        size = f"{width}x{height} pixels, smaller than the crop"
        return Found(found.title, {}, found.redirected, f"{found.title} cannot be the original: it has {size}")
    return found


def _other_title(client: Commons, item: ListedFile, before: Credit) -> tuple[str, str]:
    """Return another title of a picture that its title does not lead to, and how it was found; or nothing and why."""
    ways = []
    # The sha1 is that of the original, which only an earlier look-up can have told: our files are crops.
    if before.sha1:
        ways.append((f"sha1 {before.sha1}", client.with_sha1(before.sha1)))
    if item.flickr_id and not any(titles for _, titles in ways):
        ways.append((f"Flickr number {item.flickr_id}", client.mentioning(item.flickr_id)))
    for way, titles in ways:
        if len(titles) == 1:
            return titles[0], f"found on Commons by {way}" + (f", not as {before.title}" if before.title else "")
        if titles:
            return "", f"several files on Commons have {way}: {', '.join(map(one_line, titles))}"
    return "", ""


def _resolved(item: ListedFile, found: Found, before: Credit, today: str, extra: list[str]) -> Credit:
    """Return the credit an answer gives; without author or licence in it, it stays unresolved all the same."""
    info = found.info
    fields = {key: plain(_value(info, key)) for key in ("Attribution", "Artist", "Credit", "Restrictions")}
    shown = {key: without_contacts(text) for key, text in fields.items()}
    author = shown["Attribution"] or shown["Artist"]
    licence = plain(_value(info, "LicenseShortName")) or plain(_value(info, "UsageTerms"))
    title = one_line(str(info.get("canonicaltitle") or found.title))
    notes = [*extra, *_compared(item, author, licence), *_doubts(item)]
    if not author:
        notes.append("Commons names no author")
    if not licence:
        notes.append("Commons names no licence")
    if shown != fields:
        notes.append("a telephone number or e-mail address was left out: see the page")
    revised = one_line(str(info.get("timestamp", "")))
    if revised[:10] > TAKEN:
        notes.append(f"changed on Commons since {TAKEN}: compare the picture on its page")
    if before.sha1 and before.sha1 != info.get("sha1"):
        notes.append(f"changed on Commons since the look-up of {before.looked_up}")
    return Credit(
        file=item.file, pixels=item.pixels, title=title, author=author, licence=licence, credit=shown["Credit"],
        page=web_address(str(info.get("descriptionurl", ""))) or _page(title),
        licence_url=web_address(plain(_value(info, "LicenseUrl"))), restrictions=shown["Restrictions"],
        uploader=one_line(str(info.get("user", ""))), sha1=one_line(str(info.get("sha1", ""))), revised=revised,
        looked_up=today, source=API, notes=tuple(notes),
    )  # fmt: skip


def _unresolved(item: ListedFile, before: Credit, today: str, faults: list[str]) -> Credit:
    if before.resolved:
        kept = [note for note in before.notes if not note.startswith(GONE)]
        return replace(before, notes=(*kept, f"{GONE} on {today}"))
    # A title put into the record by hand stays there until it leads somewhere.
    still = unlooked(replace(item, title=before.title))
    return replace(still, looked_up=today, sha1=before.sha1, notes=(*still.notes, *faults))


def _page(title: str) -> str:
    return f"{PAGES}{quote(title.replace(' ', '_'), safe=':')}"


def _value(info: Mapping[str, Any], key: str) -> str:
    entry = info.get("extmetadata") or {}
    value = entry.get(key, {}).get("value", "")
    return value if isinstance(value, str) else ""


def _claims_said(item: ListedFile) -> list[str]:
    """Return notes on the file's own claims while nothing is known from Commons to hold against them."""
    return [
        f'{CONTRADICTION}the file itself says "{claim}", which no licence accepted on Commons does'
        if _unfree(claim)
        else f'the file itself says "{claim}"'
        for claim in _claims(item)
    ]


def _compared(item: ListedFile, author: str, licence: str) -> list[str]:
    """Return notes on the file's own claims that Commons contradicts."""
    notes = [
        f'{CONTRADICTION}the file itself says "{claim}", Commons "{licence}"'
        for claim in _claims(item)
        if licence and _contradicts(claim, licence)
    ]
    if item.author and author and not _words(item.author) & _words(author):
        notes.append(f'{CONTRADICTION}the file itself names "{item.author}" as its author, Commons "{author}"')
    return notes


def _claims(item: ListedFile) -> list[str]:
    return item.claims.split("; ") if item.claims else []


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


def _doubts(item: ListedFile) -> list[str]:
    return [f"{item.doubt}: compare the picture on its page"] if item.doubt else []
