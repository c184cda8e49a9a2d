"""Text from strangers made plain: HTML of Commons without its markup, metadata without what is private."""

import html
import re
import unicodedata
from urllib.parse import unquote, urlsplit

import nh3

LONGEST = 2000
"""Characters of a field; longer credit lines have been seen only where a page was vandalised."""
LONGEST_MARKUP = 10 * LONGEST
"""Characters of markup that are read: the time it takes to clean grows with their square."""
ROUNDS = 5
"""Of removing markup: text escaped several times over must not turn into markup again."""

_BREAKS = re.compile(r"<(?=/?(?:br|p|div|li|ul|ol|dd|dt|td|th|tr|table)\b)", re.IGNORECASE)
# The end of a link that another one follows, with nothing but spaces and markup between them.
_NEXT_LINK = re.compile(r"</a\s*>(?=(?:\s|<(?!/?a\b)[^<>]*>)*<a\b)", re.IGNORECASE)
_EMPTY_BRACKETS = re.compile(r"\(\s*\)|\[\s*\]|\{\s*\}")
_ENDS = " ,;:-|/"
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
    """Return what a browser would show of an HTML string, in one line, with "; " between its lines, items and links.

    Scripts and styles go with what they hold, also where they come escaped; so do control characters and those that
    reorder text, with which one name could be made to look like another.

    Args:
        markup: HTML from the Commons API, for instance authors with links to their pages.
    """
    # A browser shows a line break of the source as a space; those set below are the ones it shows.
    text = _HIDDEN.sub(" ", " ".join(markup[:LONGEST_MARKUP].split()))
    text = _NEXT_LINK.sub("</a><br>", text)
    for _ in range(ROUNDS):
        before = text
        text = html.unescape(nh3.clean(_BREAKS.sub("\n<", text), tags=set()))
        if text == before:
            break
    else:
        text = text.replace("<", " ").replace(">", " ")
    pieces = [one_line(piece).rstrip(" ,;") for piece in text.split("\n")]
    return one_line("; ".join(filter(None, pieces)))


def author_name(text: str) -> str:
    """Return an author or a licence without brackets left empty and loose signs, or nothing if that is all it was.

    Args:
        text: Plain text; what remains of "Jane Roe (jane@example.org)" without its contact is "Jane Roe ( )".
    """
    name = " ".join(_EMPTY_BRACKETS.sub(" ", text).split()).strip(_ENDS)
    return name if any(sign.isalnum() for sign in name) else ""


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
    return text if shown == text else " ".join(shown.split()).strip(_ENDS)


def web_address(text: str) -> str:
    """Return an address of the web, or nothing where it is another kind, such as `javascript:`."""
    address = one_line(html.unescape(text))
    if address.startswith("//"):
        address = f"https:{address}"
    try:
        parts = urlsplit(address)
        _ = parts.port  # only reading it tells whether it is a number
    except ValueError:
        return ""
    sound = parts.scheme in ("http", "https") and parts.hostname and not set(address) & set("<>\"'` ")
    return address if sound else ""


def file_title(text: str) -> str:
    """Return a file's title as Commons writes it, from what a person typed or the address of its page.

    Args:
        text: Such as "Sword_of_Anger.jpg", or "https://commons.wikimedia.org/wiki/File:Sword_of_Anger.jpg"; both become
            "File:Sword of Anger.jpg".
    """
    address = re.match(r"https?://[^?#]*/wiki/([^?#]+)", text.strip())
    typed = unquote(address[1]) if address else text
    name = re.sub(r"^\s*(file|image)\s*:", "", typed.replace("_", " "), flags=re.IGNORECASE)
    # The API warns of letters whose accents stand apart, as some systems write them in names of files.
    return f"File:{unicodedata.normalize('NFC', ' '.join(name.split()))}"
