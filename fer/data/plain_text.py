"""Text from strangers made plain: HTML of Commons without its markup, metadata without what is private."""

import html
import re
import unicodedata
from urllib.parse import urlsplit

import nh3

LONGEST = 2000
"""Characters of a field; longer credit lines have been seen only where a page was vandalised."""
ROUNDS = 5
"""Of removing markup: text escaped several times over must not turn into markup again."""

_BREAKS = re.compile(r"<(?=/?(?:br|p|div|li|ul|ol|dd|dt|td|th|tr|table)\b)", re.IGNORECASE)
# Commons repeats some names in a part that browsers do not show.
_HIDDEN = re.compile(r"<(span|div)\b[^>]*display:\s*none[^>]*>.*?</\1>", re.IGNORECASE | re.DOTALL)
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_CONTACT = (
    re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"),  # e-mail
    re.compile(r"\b(?:tel|phone|fax|mobile|cell)\b[.:]?\s*\(?\+?\d[\d\s()+./-]{4,}", re.IGNORECASE),
    re.compile(r"(?<![\w/])\+\d[\d\s()./-]{5,}\d"),  # a telephone number with its country's
)
_PRIVATE = (
    *_CONTACT,
    re.compile(r"(?<![\w/])00\d[\d\s()./-]{5,}\d"),
    re.compile(r"\(?\b\d{2,5}\)?[\s./-]\d{3,4}[\s.-]\d{3,4}\b"),  # and without
    re.compile(r"[-+]?\d{1,3}\.\d{3,}\s*°?\s*[NSEW]?\b"),  # position
    re.compile(r"\d{1,3}\s*°[^A-Za-z]*[NSEW]?\b"),
    re.compile(r"\b(?!(?:19|20)\d\d-(?:19|20)\d\d\b)[\w-]*\d[\d-]{6,}\w*\b"),  # serial number, but no span of years
    re.compile(
        r"\b\d{1,5}[a-z]?,?(?:\s+[^\W\d][\w.]*){1,4}\s+(?:street|st|avenue|ave|road|rd|lane|drive|boulevard|blvd)\b.*",
        re.IGNORECASE,
    ),
    re.compile(r"\b\w*(?:straße|strasse|gasse)\s+\d.*", re.IGNORECASE),
    re.compile(r"\b(?:rue|rua|calle|via|avenida)\s+\D{2,40}\d.*", re.IGNORECASE),
)


def plain(markup: str) -> str:
    """Return what a browser would show of an HTML string, in one line.

    Scripts and styles go with what they hold, also where they come escaped; so do control characters and those that
    reorder text, with which one name could be made to look like another.

    Args:
        markup: HTML from the Commons API, for instance an author with a link to their page.
    """
    text = _HIDDEN.sub(" ", markup)
    for _ in range(ROUNDS):
        before = text
        text = html.unescape(nh3.clean(_BREAKS.sub(" <", text), tags=set()))
        if text == before:
            break
    else:
        text = text.replace("<", " ").replace(">", " ")
    return one_line(text)


def one_line(text: str) -> str:
    """Return a text without line breaks, control and reordering characters, and not beyond `LONGEST` characters."""
    shown = "".join(" " if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") else sign for sign in text)
    return " ".join(_REORDERING.sub("", shown).split())[:LONGEST]


def without_contacts(text: str) -> str:
    """Return a line without e-mail addresses and telephone numbers."""
    return _without(_CONTACT, text)


def without_private(text: str) -> str:
    """Return a line without positions, serial and telephone numbers, e-mail and street addresses."""
    return _without(_PRIVATE, text)


def _without(patterns: tuple[re.Pattern[str], ...], text: str) -> str:
    shown = text
    for pattern in patterns:
        shown = pattern.sub(" ", shown)
    return text if shown == text else " ".join(shown.split()).strip(" ,;:-|")


def web_address(text: str) -> str:
    """Return an address of the web, or nothing where it is another kind, such as `javascript:`."""
    address = one_line(html.unescape(text))
    if address.startswith("//"):
        address = f"https:{address}"
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    sound = parts.scheme in ("http", "https") and parts.hostname and not set(address) & set("<>\"'` ")
    return address if sound else ""
