"""The credits of Wikimedia pictures as a page, a Markdown text, a table and a bibliography.

What stands in a credit was written by strangers, so every field becomes plain text first (tags gone, scripts with what
they hold) and is then escaped for its format; only http and https addresses become links. Letters of any script stay.
"""

import csv
import hashlib
import html
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, fields, replace
from urllib.parse import quote, urlsplit

from fer.attribution.credits import HAND, Credit
from fer.attribution.plain_text import one_line, plain, web_address

COMMONS = "https://commons.wikimedia.org"
COLUMNS = ("Picture", "Title", "Author", "Source", "Licence", "Changes, restrictions", "Looked up", "Notes")
LEFT_TO_RIGHT = "\u200e"
"""A mark without width; text after it goes on from left to right."""
Span = tuple[str, str]
"""A text and the address it links to, or nothing."""

_APART = ("file", "page", "licence_url", "notes", "history")
"""Fields that are no single text with markup: a file's name, addresses and lists."""
_TEX = {
    "\\": r"\textbackslash{}", "{": r"\textbraceleft{}", "}": r"\textbraceright{}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", **{sign: f"\\{sign}" for sign in "&%$#_"},
}  # fmt: skip
# Braces escaped with a backslash would still be counted by BibTeX, hence their names above.
_STYLE = """
:root { color-scheme: light dark; font: 14px/1.45 system-ui, sans-serif; }
body { margin: 1.5rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9em; }
th, td { border: 1px solid #8886; padding: 0.3em 0.5em; text-align: left; vertical-align: top; min-width: 5em; }
td { overflow-wrap: anywhere; }
th { background: #8882; }
td:first-child { max-width: 14em; }
a { color: light-dark(#0645ad, #8ab4f8); }
"""


def artifacts(credits: Sequence[Credit]) -> dict[str, str]:
    """Return the four files of a run's attribution by name: HTML, Markdown, CSV and BibTeX."""
    formats = {"html": page, "md": markdown, "csv": table, "bib": bibliography}
    return {f"attribution.{ending}": write(credits) for ending, write in formats.items()}


def summary(credits: Sequence[Credit]) -> str:
    """Return how many pictures there are and how many of them are unresolved, in words."""
    unresolved = sum(not credit.resolved for credit in map(cleaned, credits))
    entered = sum(credit.source == HAND for credit in credits)
    plural = "s" if len(credits) != 1 else ""
    by_hand = f", {entered} {HAND}" if entered else ""
    return f"{len(credits)} picture{plural} from Wikimedia Commons, {unresolved} unresolved{by_hand}"


def cleaned(credit: Credit) -> Credit:
    """Return a credit with plain text in every field, addresses that are safe to link, and a page to visit always."""
    known = {item.name: getattr(credit, item.name) for item in fields(Credit) if item.name not in _APART}
    texts = {name: _plain(text) for name, text in known.items()}
    likely = f"{COMMONS}/wiki/{_quoted(texts['title'].replace(' ', '_'))}" if texts["title"] else ""
    # Without what looks like tags a picture could no longer be told by its file's name.
    file = one_line(credit.file)
    name = file.rpartition("/")[2].rpartition(".")[0].replace("_", " ")
    search = f"{COMMONS}/w/index.php?ns6=1&search={_quoted(name)}"
    texts |= {"page": safe_link(credit.page) or likely or search, "licence_url": safe_link(credit.licence_url)}
    notes, history = (tuple(filter(None, map(_plain, lines))) for lines in (credit.notes, credit.history))
    return replace(credit, file=file, notes=notes, history=history, **texts)


def safe_link(address: str) -> str:
    """Return an http or https address that cannot end the attribute or brackets around it; nothing for any other."""
    known = web_address(address)
    # A name before the host makes an address look like another site's.
    return "" if "@" in urlsplit(known).netloc else quote(known, safe="%/:?#&=+,@~!$*")


def page(credits: Sequence[Credit]) -> str:
    """Return the credits as one self-contained page, in light or dark as the reader's system, without any script."""
    parts = [f"<h1>Attribution</h1>\n<p>{summary(credits)}.</p>"]
    for title, said, chosen in _sections(credits):
        parts.append(f"<h2>{title}</h2>\n<p>{said}</p>")
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        rows = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _row(c, _html_span))}</tr>" for c in chosen)
        parts.append(f"<div><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Attribution of pictures from Wikimedia Commons</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def markdown(credits: Sequence[Credit]) -> str:
    """Return the credits as Markdown tables."""
    parts = [f"# Attribution\n\n{summary(credits)}."]
    for title, said, chosen in _sections(credits):
        lines = [COLUMNS, ("---",) * len(COLUMNS), *(_row(credit, _markdown_span) for credit in chosen)]
        rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"## {title}\n\n{said}\n\n{rows}")
    return "\n\n".join(parts) + "\n"


def table(credits: Sequence[Credit]) -> str:
    """Return the credits as CSV, a row per picture.

    A cell that begins with `=`, `+`, `-` or `@` gets an apostrophe before it, since spreadsheets would compute it; tabs
    and line breaks became spaces. Several notes stand in one cell, with " | " between them.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["resolved", *(item.name for item in fields(Credit))])
    for credit in map(cleaned, credits):
        values = [" | ".join(value) if isinstance(value, tuple) else value for value in astuple(credit)]
        writer.writerow([str(credit.resolved).lower(), *map(_no_formula, values)])
    return text.getvalue()


def bibliography(credits: Sequence[Credit]) -> str:
    """Return the credits as BibTeX, a `@misc` with a key of its own per picture; those unresolved say so."""
    return f"{summary(credits)}\n\n" + "\n".join(map(_entry, map(cleaned, credits)))


def line(credit: Credit) -> str:
    """Return a credit in one line, for a figure: title, author, licence and changes, or where to look for them."""
    shown = cleaned(credit)
    if not shown.resolved:
        return f"not attributed: see {shown.page}"
    # The mark keeps fields in this order where two beside each other are written from right to left.
    by_hand = f"credit {HAND}" if shown.source == HAND else ""
    parts = (_name(shown), shown.author, shown.licence, shown.changes, by_hand)
    return f"{LEFT_TO_RIGHT}, ".join(filter(None, parts))


def _sections(credits: Sequence[Credit]) -> Iterable[tuple[str, str, list[Credit]]]:
    """Yield heading, explanation and cleaned credits of the unresolved and the resolved pictures, where there are."""
    shown = list(map(cleaned, credits))
    open_ones, done = [c for c in shown if not c.resolved], [c for c in shown if c.resolved]
    if open_ones:
        yield (
            f"Unresolved ({len(open_ones)})",
            "Title, author or licence are unknown or in doubt: visit the page before publishing the picture.",
            open_ones,
        )
    if done:
        yield f"Credits ({len(done)})", f"Authors are named as the licensors ask; what was {HAND} says so.", done


def _row(credit: Credit, write: Callable[[Span], str]) -> list[str]:
    """Return a picture's cells, in the order of `COLUMNS`, each span written as the format wants it."""
    uploader = f"{COMMONS}/wiki/User:{_quoted(credit.uploader.replace(' ', '_'))}"
    restrictions = f"restrictions: {credit.restrictions}" if credit.restrictions else ""
    revised = f"revision of {credit.revised}" if credit.revised else ""
    cells: list[list[Span]] = [
        [(credit.file, "")],
        [(_name(credit) or ("untitled" if credit.resolved else "page to visit"), credit.page)],
        [(credit.author or "unknown", ""), (f"uploaded by {credit.uploader}" if credit.uploader else "", uploader)],
        [(credit.credit, ""), (_site(credit), credit.page)],
        [(credit.licence or "unknown", credit.licence_url)],
        [(credit.changes, ""), (restrictions, "")],
        [(credit.looked_up or "never", ""), (credit.source, ""), (revised, "")],
        [(note, "") for note in (*credit.notes, *credit.history)],
    ]
    return ["; ".join(write(span) for span in cell if span[0]) for cell in cells]


def _html_span(span: Span) -> str:
    # <bdi> keeps a name written from right to left from turning round what stands beside it.
    text = f"<bdi>{html.escape(span[0])}</bdi>"
    return f'<a href="{html.escape(span[1])}" rel="noopener noreferrer nofollow">{text}</a>' if span[1] else text


def _markdown_span(span: Span) -> str:
    escaped = re.sub(r"([\\`*_\[\]|~!#$])", r"\\\1", span[0])
    # Bare addresses link themselves unless their colon or dot is written as a reference; times keep their colons.
    text = re.sub(r"[&<>]|(?<!\d):|:(?!\d)|(?<=www)\.", lambda sign: f"&#{ord(sign[0])};", escaped, flags=re.IGNORECASE)
    return f"[{text}]({span[1]})" if span[1] else text


def _entry(credit: Credit) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", credit.file.lower()).strip("-")
    licence = " ".join(filter(None, (credit.licence, credit.licence_url)))
    restrictions = f"restrictions: {credit.restrictions}" if credit.restrictions else ""
    state = "" if credit.resolved else "unresolved: visit the page before publishing the picture"
    by_hand = HAND if credit.source == HAND else ""
    parts = (licence, credit.changes, restrictions, state, by_hand, *credit.notes, *credit.history)
    note = "; ".join(filter(None, parts))
    values = {
        "title": f"{{{_tex(_name(credit) or credit.file)}}}",
        "author": f"{{{_tex(credit.author)}}}" if credit.author else "",
        "howpublished": f"{_tex(_site(credit))}, {_tex(credit.page)}",
        "url": credit.page,
        "urldate": _tex(credit.looked_up[:10]),
        "note": _tex(note),
    }
    lines = [f"  {key} = {{{value}}}," for key, value in values.items() if value]
    # The hash keeps keys apart where names differ in letters that a key cannot hold.
    key = f"commons-{slug}-{hashlib.sha256(credit.file.encode()).hexdigest()[:8]}"
    return "\n".join([f"@misc{{{key},", *lines, "}", ""])


def _name(credit: Credit) -> str:
    """Return the title as a person reads it, without the namespace."""
    return credit.title.removeprefix("File:")


def _site(credit: Credit) -> str:
    """Return where a picture's page stands, which is elsewhere only if a person said so."""
    host = urlsplit(credit.page).netloc
    return "Wikimedia Commons" if host == urlsplit(COMMONS).netloc else host


def _no_formula(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")) else cell  # noqa: RUF001


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)


def _plain(text: str) -> str:
    # In one line first: half a character, which JSON can hold, is more than the removal of markup takes.
    return plain(one_line(text))


def _quoted(text: str) -> str:
    return quote(text, safe=":")
