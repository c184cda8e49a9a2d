"""Turn what strangers wrote into plain text: HTML of Commons, titles, web addresses."""

import html
import re
import unicodedata
from urllib.parse import quote, unquote, urlsplit

import nh3

MAX_LENGTH = 2000
"""Characters of a field; longer credit lines have been seen only where a page was vandalised."""
MAX_MARKUP = 10 * MAX_LENGTH
"""Characters of markup that are read: the time it takes to clean grows with their square."""
MAX_ROUNDS = 5
"""Of removing markup: text escaped several times over must not turn into markup again."""

_BREAKS = re.compile(
    r"<(?=/?(?:br|p|div|li|ul|ol|dd|dt|td|th|tr|table)\b)",
    re.IGNORECASE,
)
# Links side by side are authors; run together they would read as one person's name.
_NEXT_LINK = re.compile(r"</a\s*>(?=(?:\s|<(?!/?a\b)[^<>]*>)*<a\b)", re.IGNORECASE)
# Commons repeats some names in a part that browsers do not show. No tag reaches over the next one's beginning: the time
# it takes to try would grow with the cube of the text's length.
_HIDDEN = re.compile(
    r"<(span|div)\b[^<>]*display:\s*none[^<>]*>.*?</\1>",
    re.IGNORECASE | re.DOTALL,
)
_EMPTY_BRACKETS = re.compile(r"[(\[{]\s*[)\]}]")
_LOOSE_SIGNS = " ,;:-|/"
# With these one name can be made to look like another.
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_CONTROLS = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control codes, halves of characters and line breaks."""
_CONTACTS = (
    re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"),
    re.compile(
        r"\b(?:tel|phone|fax|mobile|cell)\b[.:]?\s*\(?\+?\d[\d\s()+./-]{4,}",
        re.IGNORECASE,
    ),
    # A telephone number with its country's code; others look like the numbers in addresses of pictures.
    re.compile(r"(?<![\w/])\+\d[\d\s()./-]{5,}\d"),
)


def html_to_text(markup: str) -> str:
    """Return what a browser would show of an HTML string, in one line, with "; " between its lines, items and links.

    Scripts and styles go with what they hold, also where they come escaped; so do control characters and those that
    reorder text.

    Args:
        markup: HTML from the Commons API, for instance authors with links to their pages.
    """
    # A browser shows a line break of the source as a space; those set below are the ones it shows.
    text = " ".join(markup[:MAX_MARKUP].split())
    # JSON can hold halves of characters, which no text can.
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = _HIDDEN.sub(" ", text)
    text = _NEXT_LINK.sub("</a><br>", text)
    for _ in range(MAX_ROUNDS):
        before = text
        text = _BREAKS.sub("\n<", text)
        text = html.unescape(nh3.clean(text, tags=set()))
        if text == before:
            break
    else:
        text = text.replace("<", " ").replace(">", " ")
    pieces = [one_line(piece).rstrip(" ,;") for piece in text.split("\n")]
    return one_line("; ".join(filter(None, pieces)))


def clean_name(text: str) -> str:
    """Return an author or a licence without empty brackets and loose signs, or nothing if that is all it was.

    Args:
        text: Plain text; what remains of "Jane Roe (jane@example.org)" without its contact is "Jane Roe ( )".
    """
    name = " ".join(_EMPTY_BRACKETS.sub(" ", text).split()).strip(_LOOSE_SIGNS)
    has_letters = any(sign.isalnum() for sign in name)
    return name if has_letters else ""


def one_line(text: str) -> str:
    """Return a text without line breaks, control and reordering characters, cut at `MAX_LENGTH` characters."""
    signs = []
    for sign in _REORDERING.sub("", text):
        is_control = unicodedata.category(sign) in _CONTROLS
        signs.append(" " if is_control else sign)
    return " ".join("".join(signs).split())[:MAX_LENGTH]


def without_contacts(text: str) -> str:
    """Return a line without e-mail addresses and telephone numbers."""
    shown = text
    for pattern in _CONTACTS:
        shown = pattern.sub(" ", shown)
    # A line that held none stays as it is, loose signs included.
    if shown == text:
        return text
    return " ".join(shown.split()).strip(_LOOSE_SIGNS)


def web_address(text: str) -> str:
    """Return an http or https address that is safe to link, or nothing where it is none."""
    address = one_line(html.unescape(text))
    if address.startswith("//"):
        address = f"https:{address}"
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    # A name before the host makes an address look like another site's.
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return ""
    # What could end the attribute around a link, or the brackets around it in Markdown, is escaped.
    return quote(address, safe="%/:?#&=+,@~!$*")


def file_title(text: str) -> str:
    """Return a file's title as Commons writes it, from what a person typed or the address of its page.

    Args:
        text: Such as "Sword_of_Anger.jpg", or "https://commons.wikimedia.org/wiki/File:Sword_of_Anger.jpg"; both become
            "File:Sword of Anger.jpg".
    """
    address = re.match(r"https?://[^?#]*/wiki/([^?#]+)", text.strip())
    typed = unquote(address[1]) if address else text
    spaced = typed.replace("_", " ")
    name = re.sub(r"^\s*(file|image)\s*:", "", spaced, flags=re.IGNORECASE)
    # The API warns of letters whose accents stand apart, as some systems write them in names of files.
    composed = unicodedata.normalize("NFC", " ".join(name.split()))
    return f"File:{composed}"
