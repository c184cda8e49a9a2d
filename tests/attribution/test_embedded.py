from pathlib import Path

import pytest
from PIL import Image, TiffImagePlugin

from fer.attribution.embedded import Embedded, claims_of, read_embedded
from fer.data.datasets.wikimedia import listed_files
from tests.paths import REAL_FACES

PACKET = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:r="http://ns.adobe.com/xap/1.0/rights/"
 xmlns:p="http://ns.adobe.com/photoshop/1.0/" xmlns:e="http://ns.adobe.com/exif/1.0/" {attributes}>{elements}
</rdf:Description></rdf:RDF></x:xmpmeta>"""
CREATOR = "<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li>مریم</rdf:li></rdf:Seq></dc:creator>"
TERMS = "<r:UsageTerms><rdf:Alt><rdf:li>Attribution-Noncommercial 3.0 Unported</rdf:li></rdf:Alt></r:UsageTerms>"


def picture(
    path: Path, exif: dict[int, str | bytes] | None = None, xmp: str = "", iptc: dict[int, bytes] | None = None
) -> Path:
    """A drawn picture with these EXIF tags, this XMP packet and these IPTC records of the application block."""
    tags = Image.Exif()
    for tag, text in (exif or {}).items():
        tags[tag] = text
    extra = {"xmp": xmp.encode()} if xmp else {}
    Image.new("RGB", (8, 8), "red").save(path, exif=tags, **extra)
    if iptc:
        records = b"".join(b"\x1c\x02" + bytes([n]) + len(v).to_bytes(2, "big") + v for n, v in iptc.items())
        block = b"8BIM\x04\x04\x00\x00" + len(records).to_bytes(4, "big") + records + b"\x00" * (len(records) % 2)
        segment = b"Photoshop 3.0\x00" + block
        content = path.read_bytes()
        path.write_bytes(content[:2] + b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment + content[2:])
    return path


def test_exif_iptc_and_xmp_are_read(tmp_path: Path) -> None:
    exif = {0x013B: "Ann", 0x8298: "(c) Ann, All Rights Reserved"}
    assert read_embedded(picture(tmp_path / "e.jpg", exif)) == Embedded("Ann", "", ("all rights reserved",))
    iptc = {80: "Zoë".encode(), 110: b"Zoo / Agency", 116: b"CC BY-SA 3.0"}
    assert read_embedded(picture(tmp_path / "i.jpg", iptc=iptc)) == Embedded("Zoë", "Zoo / Agency", ("CC BY-SA 3.0",))
    xmp = PACKET.format(attributes='p:Credit="Agency"', elements=CREATOR + TERMS)
    assert read_embedded(picture(tmp_path / "x.jpg", xmp=xmp)) == Embedded("Ann; مریم", "Agency", ("CC BY-NC 3.0",))


def test_xmp_comes_first_and_every_claim_stays(tmp_path: Path) -> None:
    xmp = PACKET.format(attributes='r:WebStatement="http://creativecommons.org/licenses/by/4.0/"', elements=CREATOR)
    found = read_embedded(picture(tmp_path / "a.jpg", {0x013B: "Bob", 0x8298: "All rights reserved"}, xmp))
    assert found == Embedded("Ann; مریم", "", ("CC BY 4.0", "all rights reserved"))


def test_utf_8_in_exif_is_read_as_what_it_is(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", {0x013B: "مریم".encode()})
    assert read_embedded(path).author == "مریم"


def test_no_other_field_and_nothing_private_is_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x013B] = "Ann, +1 202 555 0143, ann@mail.example.org"
    exif[0x8298] = "All rights reserved, 12 Garden Street, +1 202 555 0143"
    exif[0x010E] = "at home"
    exif.get_ifd(0x8825)[2] = tuple(TiffImagePlugin.IFDRational(n) for n in (52, 31, 12))
    exif.get_ifd(0x8769)[0xA431] = "SERIAL12345"
    xmp = PACKET.format(attributes='e:GPSLatitude="52,31.2N" r:Owner="call 202 555 0143"', elements="")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif, xmp=xmp.encode())
    assert read_embedded(tmp_path / "a.jpg") == Embedded("Ann", "", ("all rights reserved",))


@pytest.mark.parametrize(
    "xmp",
    [
        "<x:xmpmeta",
        '<!DOCTYPE x [<!ENTITY a "Ann">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&a;</x:xmpmeta>',
        "\x00\x00",
        "no XML",
    ],
)
def test_a_damaged_or_dangerous_packet_says_nothing(tmp_path: Path, xmp: str) -> None:
    assert read_embedded(picture(tmp_path / "a.jpg", xmp=xmp)) == Embedded()


def test_what_is_no_picture_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    assert read_embedded(tmp_path / "a.jpg") == read_embedded(tmp_path / "absent.jpg") == Embedded()


@pytest.mark.parametrize(
    ("notice", "claims"),
    [
        ("CC BY-SA 3.0", ["CC BY-SA 3.0"]),
        ("http://creativecommons.org/licenses/by-nc/3.0/", ["CC BY-NC 3.0"]),
        ("https://creativecommons.org/licenses/by-nc-nd/2.0", ["CC BY-NC-ND 2.0"]),
        ("Creative Commons Attribution-Share Alike 3.0 Generic license", ["CC BY-SA 3.0"]),
        ("available under Creative Commons Attribution only licence CC BY 4.0 http://x", ["CC BY 4.0"]),
        ("Creative Commons CC0 1.0 Universal Public Domain", ["CC0"]),
        ("Public Domain", ["public domain"]),
        ("© Ann, Some Rights Reserved", ["some rights reserved"]),
        ("All Rights Reserved Ann", ["all rights reserved"]),
        ("for non-commercial use", ["non-commercial"]),
        ("COPYRIGHT, 2007", ["copyright claimed"]),
        ("Photo by Ann Author 3.0", []),
        ("Ann Author", []),
        ("", []),
    ],
)
def test_notices_become_a_few_fixed_words(notice: str, claims: list[str]) -> None:
    assert claims_of(notice) == claims


@pytest.mark.skipif(not REAL_FACES.is_dir(), reason=f"the real Wikimedia set is not at {REAL_FACES}")
def test_the_real_set_says_what_the_list_holds() -> None:
    found = {item.file: read_embedded(REAL_FACES / item.file) for item in listed_files()}
    assert [(name, said.author, "; ".join(said.claims)) for name, said in found.items()] == [
        (item.file, item.author, item.claims) for item in listed_files()
    ]
    unfree = ("CC BY-NC 3.0", "all rights reserved")
    contradicting = {name: said.claims for name, said in found.items() if set(unfree) & set(said.claims)}
    assert contradicting == {
        "3/Fan_Expo_Canada_2015_-_Disgusted_(20876577923).jpg": ("CC BY-NC 3.0", "some rights reserved"),
        "7/Young_Ashaninka_girl_in_an_Apiwtxa_village,_Acre_state,_Brazil.jpg": ("all rights reserved",),
    }
