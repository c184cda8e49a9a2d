"""Write the credits of Wikimedia pictures as a page and as a table, for people and for programs.

What stands in a credit was written by strangers, so every field becomes plain text first (tags gone, scripts with what
they hold) and is then escaped for its format; only http and https addresses become links. Letters of any script stay.
"""

from collections.abc import Sequence
from dataclasses import astuple, fields, replace
from pathlib import PurePosixPath
from urllib.parse import quote, urlsplit

from fer.attribution.credits import COMMONS, HAND, Credit, page_address, search_address
from fer.attribution.plain_text import html_to_text, one_line, web_address
from fer.utils.rendering import csv_text, render

LEFT_TO_RIGHT = "\u200e"
"""A mark without width; text after it goes on from left to right."""
FORMULA_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001
"""Beginnings of cells that spreadsheets would compute."""
PAGE, TABLE = "attribution.html", "attribution.csv"
"""Names of the two files of a run's attribution."""


def attribution_files(credits: Sequence[Credit]) -> dict[str, str]:
    """Return the files of a run's attribution by name: HTML and CSV."""
    return {PAGE: attribution_page(credits), TABLE: attribution_table(credits)}


def summary(credits: Sequence[Credit]) -> str:
    """Return how many pictures there are and how many of them are unresolved, as a phrase."""
    # A field that was nothing but markup is empty once it is plain text.
    unresolved = sum(not sanitize(credit).resolved for credit in credits)
    entered = sum(credit.source == HAND for credit in credits)
    plural = "s" if len(credits) != 1 else ""
    by_hand = f", {entered} {HAND}" if entered else ""
    return f"{len(credits)} picture{plural} from Wikimedia Commons, {unresolved} unresolved{by_hand}"


def sanitize(credit: Credit) -> Credit:
    """Return a credit with plain text in every field, addresses that are safe to link, and a page to visit always."""
    texts = {}
    for field in fields(Credit):
        value = getattr(credit, field.name)
        if isinstance(value, str):
            texts[field.name] = _plain(value)
    # Without what looks like tags a picture could no longer be told by its file's name.
    file = texts["file"] = one_line(credit.file)
    texts["page"] = safe_link(credit.page) or _likely_page(texts["title"], file)
    texts["licence_url"] = safe_link(credit.licence_url)
    notes = tuple(filter(None, map(_plain, credit.notes)))
    history = tuple(filter(None, map(_plain, credit.history)))
    return replace(credit, notes=notes, history=history, **texts)


def safe_link(address: str) -> str:
    """Return an http or https address that cannot end the attribute around it; nothing for any other."""
    known = web_address(address)
    # A name before the host makes an address look like another site's.
    return "" if "@" in urlsplit(known).netloc else quote(known, safe="%/:?#&=+,@~!$*")


def attribution_page(credits: Sequence[Credit]) -> str:
    """Return the credits as one self-contained page, in light or dark as the reader's system, without any script."""
    shown = [sanitize(credit) for credit in credits]
    return render(
        "attribution.html",
        title="Attribution of pictures from Wikimedia Commons",
        summary=summary(credits),
        unresolved=[credit for credit in shown if not credit.resolved],
        resolved=[credit for credit in shown if credit.resolved],
        commons=COMMONS,
        by_hand=HAND,
        site_of=_site,
    )


def attribution_table(credits: Sequence[Credit]) -> str:
    """Return the credits as CSV, a row per picture.

    A cell that spreadsheets would compute gets an apostrophe before it; tabs and line breaks became spaces. Several
    notes stand in one cell, with " | " between them.
    """
    rows = [["resolved", *(field.name for field in fields(Credit))]]
    for credit in map(sanitize, credits):
        row = [str(credit.resolved).lower()]
        for value in astuple(credit):
            cell = " | ".join(value) if isinstance(value, tuple) else value
            row.append(f"'{cell}" if cell.startswith(FORMULA_SIGNS) else cell)
        rows.append(row)
    return csv_text(rows)


def credit_line(credit: Credit) -> str:
    """Return a credit in one line, for a figure: title, author, licence and changes, or where to look for them."""
    shown = sanitize(credit)
    if not shown.resolved:
        return f"not attributed: see {shown.page}"
    by_hand = f"credit {HAND}" if shown.source == HAND else ""
    parts = (shown.name, shown.author, shown.licence, shown.changes, by_hand)
    # The mark keeps fields in this order where two beside each other are written from right to left.
    return f"{LEFT_TO_RIGHT}, ".join(filter(None, parts))


def _likely_page(title: str, file: str) -> str:
    if title:
        return page_address(title)
    name = PurePosixPath(file).stem
    return search_address(name.replace("_", " "))


def _site(credit: Credit) -> str:
    """Return where a picture's page stands, which is another site only if a person said so."""
    host = urlsplit(credit.page).netloc
    return "Wikimedia Commons" if host == urlsplit(COMMONS).netloc else host


def _plain(text: str) -> str:
    # In one line first: half a character, which JSON can hold, is more than the removal of markup takes.
    return html_to_text(one_line(text))
