"""Readers of archives, and zip and tar archives of hostile members."""

import bz2
import gzip
import io
import lzma
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image

from fer.data.archives import ZippedFiles
from fer.data.datasets.registry import find_source
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.prepare import prepare
from fer.data.prepared import Prepared
from fer.portable.images import UnusableImage
from tests.fuzz.hostile import Target
from tests.fuzz.mutations import NUMBERS, TEXTS, spoilt

NAMES = (
    "1/a.png",
    "2/b.png",
    "w/1/a.png",
    "1",
    "1/",
    "1/a.png/b",
    "../escape.png",
    "1/../../escape.png",
    "/tmp/escape.png",
    "//escape",
    "1\\..\\..\\escape",
    "C:/escape",
    ".",
    "..",
    "./1/a.png",
    "1//a.png",
    "~/escape",
    "1/" + "n" * 300,
    "d/" * 500 + "a.png",
    "__MACOSX/1/._a.png",
    "1/\udcfe.png",
    "1/a\nb.png",
    "link/escape.png",
    "link",
)
LINKS = ("1/a.png", "..", "../..", "/etc/hostname", "/tmp", ".", "link", "1", "../escape.png", "d/" * 200 + "..")
KINDS = (
    tarfile.REGTYPE,
    tarfile.AREGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
    tarfile.CONTTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.GNUTYPE_SPARSE,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    b"Z",
)
PAX = (
    "size=-1048576",
    "size=-512",
    "size=99999999999999999999",
    "size=x",
    "path=../escape",
    "linkpath=/etc",
    "mtime=1e999",
    "uid=-1",
    "hdrcharset=BINARY",
    "GNU.sparse.map=0,1,2",
    "GNU.sparse.major=1",
    "GNU.sparse.minor=0",
    "GNU.sparse.realsize=1000000000000",
    "GNU.sparse.size=-5",
    "GNU.sparse.numblocks=99999999",
)
COMPRESSIONS: tuple[Callable[[bytes], bytes], ...] = (bytes, gzip.compress, bz2.compress, lzma.compress)


class Member(NamedTuple):
    """A member of a tar: its name, kind, link, content, and the size it claims, or -1 for that of its content."""

    name: str
    kind: bytes
    link: str
    content: bytes
    size: int


def picture() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (20, 20), (200, 90, 80)).save(content, "PNG")
    return content.getvalue()


def tar_of(members: Sequence[Member], end: bytes = bytes(1024)) -> bytes:
    parts = []
    for member in members:
        info = tarfile.TarInfo()
        info.type = member.kind
        # Each is cut where a header has no room for it; longer ones come in members of their own.
        info.name = member.name[:90]
        info.linkname = member.link[:90]
        info.size = len(member.content) if member.size < 0 else member.size
        header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        parts += [header, member.content, bytes(-len(member.content) % 512)]
    return b"".join(parts) + end


def records(texts: Sequence[str]) -> bytes:
    """Return the content of a member of extended headers."""
    parts = []
    for text in texts:
        # The length counts itself.
        size = len(text) + 2
        while size != len(f"{size} {text}\n"):
            size = len(f"{size} {text}\n")
        parts.append(f"{size} {text}\n".encode())
    return b"".join(parts)


def tars() -> SearchStrategy[bytes]:
    sizes = st.one_of(st.just(-1), st.just(-1), st.just(-1), st.sampled_from([n for n in NUMBERS if 0 <= n < 2**40]))
    contents = st.one_of(
        st.just(picture()),
        st.binary(max_size=60),
        st.sampled_from(NAMES).map(lambda name: name.encode("utf-8", "surrogateescape") + b"\0"),
        st.lists(st.sampled_from(PAX), max_size=4).map(records),
    )
    member = st.builds(Member, st.sampled_from(NAMES), st.sampled_from(KINDS), st.sampled_from(LINKS), contents, sizes)
    return st.builds(
        lambda members, end, compress: compress(tar_of(members, end)),
        st.lists(member, min_size=1, max_size=6),
        st.sampled_from((bytes(1024), bytes(1024), bytes(1024), b"", bytes(512), b"x" * 600)),
        st.sampled_from(COMPRESSIONS),
    )


def zip_of(members: Sequence[tuple[str, bytes, int, int]]) -> bytes:
    """Return a zip of (name, content, way of compression, attributes)."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, data, way, attributes in members:
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode()[:60_000] or "x")
            info.compress_type = way
            info.external_attr = attributes
            packed.writestr(info, data)
    return content.getvalue()


def zips() -> SearchStrategy[bytes]:
    inner = zip_of([("1/a.png", picture(), zipfile.ZIP_DEFLATED, 0)])
    contents = st.one_of(
        st.just(picture()),
        st.just(inner),
        st.binary(max_size=60),
        st.sampled_from((1_000_000, 5_000_000)).map(bytes),
    )
    ways = st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    attributes = st.sampled_from((0, 0o120777 << 16, 0o040755 << 16, 0o010644 << 16, 0x10, 2**32 - 1))
    names = st.one_of(st.sampled_from(NAMES), st.sampled_from(TEXTS))
    whole = st.builds(zip_of, st.lists(st.tuples(names, contents, ways, attributes), min_size=1, max_size=4))
    numbers = st.sampled_from([number % 2**32 for number in NUMBERS])
    # Name lengths, sizes, offsets and flags of the directory and its end, all of which are believed.
    marks = st.sampled_from((b"PK\1\2", b"PK\3\4", b"PK\5\6"))
    claims = st.lists(st.tuples(marks, st.integers(4, 44), numbers), max_size=3)
    return st.builds(_claiming, whole, claims)


def _claiming(content: bytes, claims: Sequence[tuple[bytes, int, int]]) -> bytes:
    changed = bytearray(content)
    for mark, place, number in claims:
        start = content.find(mark) + place
        if start >= place and start + 4 <= len(content):
            size = 2 if place % 2 else 4
            struct.pack_into("<H" if size == 2 else "<I", changed, start, number % 256**size)
    return bytes(changed)


def sound() -> tuple[bytes, ...]:
    """A zip, and a tar of each kind of compression, of two pictures."""
    members = [(name, picture(), zipfile.ZIP_DEFLATED, 0) for name in ("1/a.png", "2/b.png")]
    packed = tar_of([Member(name, tarfile.REGTYPE, "", content, -1) for name, content, *_ in members])
    return (zip_of(members), *(compress(packed) for compress in COMPRESSIONS))


def read_archive(content: bytes, folder: Path) -> Prepared:
    """Prepare a set from an archive, as a user would who names it as the download."""
    source = folder / "download"
    source.write_bytes(content)
    root = folder / "data"
    found = find_source(WIKIMEDIA, str(source), root)
    assert found
    try:
        return prepare(WIKIMEDIA, found, root)
    finally:
        assert sorted(path.name for path in folder.iterdir()) == ["data", "download"]
        shutil.rmtree(root, ignore_errors=True)


def read_in_place(content: bytes, folder: Path) -> list[bytes]:
    """Read the files of a zip as RAF-DB's reader does."""
    source = folder / "aligned.zip"
    source.write_bytes(content)
    zipped = ZippedFiles(source)
    contents = []
    for name in zipped.names():
        try:
            contents.append(zipped.read(name))
        except UnusableImage as fault:
            assert str(fault).isprintable()
    return contents


def targets() -> list[Target[bytes]]:
    """Return the readers of archives."""
    samples = sound()
    words = [name.encode("utf-8", "surrogateescape") for name in NAMES[:18]]
    inputs = st.one_of(spoilt(samples, words), tars(), tars(), zips())
    zipped = st.one_of(spoilt(samples[:1], words), zips(), zips())
    # Headers that each announce another: Python's reader goes one level deeper for every one.
    long_names = Member("x", tarfile.GNUTYPE_LONGNAME, "", b"1/a.png\0", -1)
    known = (tar_of([long_names] * 2000), lzma.compress(tar_of([long_names] * 5)))
    return [
        Target("archives, unpacked and prepared", inputs, read_archive, Prepared, samples, known),
        Target("archives, read in place", zipped, read_in_place, list, samples[:1]),
    ]
