"""What a picture file says of its own author and rights, in EXIF, XMP and IPTC."""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from PIL import ImageFile, IptcImagePlugin

from fer.attribution.plain_text import one_line, without_private
from fer.portable.images import open_picture

ARTIST, COPYRIGHT = 0x013B, 0x8298
"""EXIF tags."""
BYLINE, CREDIT, NOTICE = (2, 80), (2, 110), (2, 116)
"""IPTC records."""
DC = "{http://purl.org/dc/elements/1.1/}"
RIGHTS = "{http://ns.adobe.com/xap/1.0/rights/}"
PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
UNFREE = ("all rights reserved", "non-commercial", "no derivatives")
"""Claims that no licence accepted on Commons makes."""

_SPELLINGS = (
    (r"attribution", "by"), (r"non-?\s?commercial", "nc"), (r"share\s?-?alike", "sa"), (r"no\s?-?deriv\w*", "nd"),
    (r"[\s/_:,;()-]+", "-"),
)  # fmt: skip
_LICENCE = re.compile(r"\bby((?:-nc)?(?:-nd|-sa)?)-v?(\d\.\d)")


@dataclass(frozen=True)
class Embedded:
    """What a file says of itself.

    Attributes:
        author: Its photographers, joined by "; ".
        credit: Its credit line.
        claims: What its rights fields say, in a few fixed words, such as "CC BY-SA 3.0" or "all rights reserved";
            never in theirs, since notices have been seen to hold telephone numbers.
    """

    author: str = ""
    credit: str = ""
    claims: tuple[str, ...] = ()


def read_embedded(path: Path) -> Embedded:
    """Read the fields for author, credit and rights of a picture, and no others.

    XMP comes before IPTC and EXIF, because it alone keeps every script and length.

    Args:
        path: A picture file; one without metadata, or with damaged metadata, has nothing to say.
    """
    try:
        with warnings.catch_warnings(), open_picture(path) as image:
            warnings.simplefilter("ignore")
            exif, iptc, xmp = image.getexif(), _iptc(image), _xmp(image.info)
    except Exception:  # on damaged files Pillow raises nearly anything
        return Embedded()
    authors = (xmp.get(f"{DC}creator"), iptc.get(BYLINE), _text(exif.get(ARTIST)))
    credits = (xmp.get(f"{PHOTOSHOP}Credit"), iptc.get(CREDIT))
    notices = [value for key, value in xmp.items() if key == f"{DC}rights" or key.startswith(RIGHTS)]
    notices += [iptc.get(NOTICE, ""), _text(exif.get(COPYRIGHT))]
    claims = {claim for notice in notices for claim in claims_of(notice)}
    return Embedded(_first(authors), _first(credits), tuple(sorted(claims)))


def claims_of(notice: str) -> list[str]:
    """Return what a rights notice says: licences by their short names, and other claims in fixed words.

    Args:
        notice: Such as "© A. Photographer, Some Rights Reserved" or a licence's address.
    """
    text = notice.lower()
    for pattern, short in _SPELLINGS:
        text = re.sub(pattern, short, text)
    found = [f"CC BY{parts.upper()} {version}" for parts, version in _LICENCE.findall(text)]
    said = {
        "CC0": r"\bcc-?0|zero-1\.0",
        "public domain": r"public-domain(?!-mark)",
        "all rights reserved": r"all-rights-reserved|alle-rechte-vorbehalten|tous-droits-r|todos-os-direitos",
        "some rights reserved": r"some-rights-reserved",
        "non-commercial": r"\bnc\b",
        "no derivatives": r"\bnd\b",
    }
    found += [claim for claim, pattern in said.items() if re.search(pattern, text)]
    if any("-NC" in claim or "-ND" in claim for claim in found):
        found = [claim for claim in found if claim not in ("non-commercial", "no derivatives")]
    if not found and re.search(r"copyright|©|\(c\)", notice.lower()):
        found = ["copyright claimed"]
    if "CC0" in found and "public domain" in found:  # as its full name does
        found.remove("public domain")
    return found


def _first(texts: tuple[str | None, ...]) -> str:
    """Return the first text that still says something once what is private is gone."""
    return next((said for text in texts if text and (said := without_private(one_line(text)))), "")


def _text(raw: Any) -> str:
    """Return an EXIF text; Pillow reads its bytes as Latin-1, but cameras and programs write UTF-8."""
    if not isinstance(raw, str):
        return ""
    try:
        return raw.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return raw


def _iptc(image: ImageFile.ImageFile) -> dict[tuple[int, int], str]:
    found = {}
    for key, raw in (IptcImagePlugin.getiptcinfo(image) or {}).items():
        values = raw if isinstance(raw, list) else [raw]
        if key in (BYLINE, CREDIT, NOTICE):
            found[key] = "; ".join(_decoded(value) for value in values)
    return found


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _xmp(info: dict[Any, Any]) -> dict[str, str]:
    """Return the wanted properties of an XMP packet by their full names; they stand as elements or as attributes."""
    raw = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    packet = (raw.encode() if isinstance(raw, str) else raw).strip(b"\0 \t\r\n")
    if not packet or b"<!" in packet.replace(b"<!--", b""):
        return {}  # XMP has no declarations; with them a small packet could grow without bound
    try:
        root = ElementTree.fromstring(packet)
    except ElementTree.ParseError:
        return {}
    found: dict[str, str] = {}
    for element in root.iter():
        for name, value in [*element.attrib.items(), (element.tag, "; ".join(filter(str.strip, element.itertext())))]:
            if name in (f"{DC}creator", f"{DC}rights", f"{PHOTOSHOP}Credit") or name.startswith(RIGHTS):
                found.setdefault(name, value)
    return found
