"""Ways to spoil input: bytes that are flipped, cut, repeated and spliced, and values of other types and sizes."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz.hostile import SECRET

MOST_EDITS = 6
LONGEST = 200_000
"""Bytes of a spoilt input."""
FAR = 2**16
"""Positions are drawn below it and wrapped around the input's length."""
NUMBERS = (0, 1, -1, 127, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 10**30)
"""Whole numbers at which sizes and codes break."""
TEXTS = (
    "",
    " ",
    "0",
    "-1",
    "1e999",
    "NaN",
    "Infinity",
    "9" * 5000,
    "²",
    "\N{ARABIC-INDIC DIGIT ONE}",
    "true",
    "null",
    "../../escape",
    "/etc/hostname",
    "~/x",
    "C:\\x",
    "a\0b",
    "\ud800",
    "\udc80",
    "\u2028",
    "\x1b[31m",
    "\r\n",
    "=1+1",
    "{{7*7}}",
    "<script>x</script>",
    "&lt;script&gt;",
    "%s%n",
    f"https://user:{SECRET}@example.org/",
    "x" * 3000,
    "😀" * 50,
    "\N{RIGHT-TO-LEFT OVERRIDE}x",
    "__class__",
    "a\tb",
    '"',
    "'",
    ",",
    ";",
    "\n",
)
"""Texts that something may stumble over."""
FRAGMENTS = tuple(text.encode("utf-8", "surrogatepass") for text in TEXTS)

Edit = tuple[str, int, int, bytes]
"""What to do, where, over how many bytes, and with which ones."""


def _number_bytes() -> list[bytes]:
    found = []
    for number in NUMBERS:
        for size in (1, 2, 4, 8):
            value = number % 256**size
            found += [value.to_bytes(size, "little"), value.to_bytes(size, "big")]
    return sorted(set(found))


def spoilt(samples: Sequence[bytes], fragments: Sequence[bytes] = ()) -> SearchStrategy[bytes]:
    """Return bytes made of samples by a few edits, and now and then quite random ones.

    Args:
        samples: Valid inputs.
        fragments: Words of their format, which are put in beside what breaks any format.
    """
    words = st.sampled_from([*fragments, *FRAGMENTS]) if fragments else st.sampled_from(FRAGMENTS)
    pieces = st.one_of(words, st.sampled_from(_number_bytes()), st.binary(max_size=8))
    sizes = st.one_of(st.integers(0, 8), st.integers(0, FAR))
    edit = st.tuples(st.sampled_from(sorted(EDITS)), st.integers(0, FAR), sizes, pieces)
    edited = st.builds(
        lambda sample, other, edits: _edited(sample, other, edits),
        st.sampled_from(samples),
        st.sampled_from(samples),
        st.lists(edit, min_size=1, max_size=MOST_EDITS),
    )
    return st.one_of(edited, edited, edited, edited, st.binary(max_size=300))


def _edited(sample: bytes, other: bytes, edits: Sequence[Edit]) -> bytes:
    content = sample
    for name, place, size, piece in edits:
        at = place % (len(content) + 1)
        content = EDITS[name](content, other, at, size, piece)[:LONGEST]
    return content


def _flip(content: bytes, other: bytes, at: int, size: int, piece: bytes) -> bytes:
    if at == len(content):
        return content
    return content[:at] + bytes([content[at] ^ (1 << size % 8)]) + content[at + 1 :]


EDITS: dict[str, Callable[[bytes, bytes, int, int, bytes], bytes]] = {
    "flip": _flip,
    "overwrite": lambda content, other, at, size, piece: content[:at] + piece + content[at + len(piece) :],
    "insert": lambda content, other, at, size, piece: content[:at] + piece + content[at:],
    "cut out": lambda content, other, at, size, piece: content[:at] + content[at + size :],
    "cut off": lambda content, other, at, size, piece: content[:at],
    "repeat": lambda content, other, at, size, piece: content[: at + size] + content[at:],
    "many": lambda content, other, at, size, piece: content[:at] + piece * min(size, 4000) + content[at:],
    "splice": lambda content, other, at, size, piece: content[:at] + other[size % (len(other) + 1) :],
}
"""Each makes of a content, another one, a position, a size and a piece of bytes another content."""


def hostile_values() -> SearchStrategy[Any]:
    """Return values of any type that JSON knows, with what breaks readers of them."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from(NUMBERS),
        st.sampled_from((0.0, -0.5, 1e308, 5e-324)),
        st.sampled_from(TEXTS),
        st.text(max_size=10),
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(TEXTS) | st.text(max_size=5), inner, max_size=4)
        ),
        max_leaves=6,
    )


def altered(value: Any) -> SearchStrategy[Any]:
    """Return values of one form of which a few parts, at any depth, are gone, doubled or something else."""
    steps = st.lists(
        st.tuples(st.integers(0, FAR), st.sampled_from(("replace", "remove", "double", "wrap")), hostile_values()),
        min_size=1,
        max_size=4,
    )
    return st.builds(lambda edits: _altered(value, edits), steps)


def _altered(value: Any, edits: Sequence[tuple[int, str, Any]]) -> Any:
    result = value
    for number, kind, other in edits:
        places = list(_places(result, ()))
        result = _changed(result, places[number % len(places)], kind, other)
    return result


def _places(value: Any, path: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += _places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += _places(inner, (*path, index))
    return found


def _changed(value: Any, path: tuple[Any, ...], kind: str, other: Any) -> Any:
    """Return a copy in which the part at a path is changed; the whole is never removed."""
    if not path:
        return {"wrap": [value], "double": [value, value]}.get(kind, other)
    first, rest = path[0], path[1:]
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    if rest or kind in ("replace", "wrap"):
        copy[first] = _changed(copy[first], rest, kind, other)
    elif kind == "remove":
        del copy[first]
    elif isinstance(copy, list):
        copy.insert(first, copy[first])
    else:
        copy[f"{first}2"] = copy[first]
    return copy


def as_json(value: Any) -> bytes:
    """Return a value as JSON, with what only Python's reader takes, such as NaN, and lone surrogates."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def spoilt_json(value: Any, fragments: Sequence[bytes] = ()) -> SearchStrategy[bytes]:
    """Return JSON texts whose values are altered, or whose bytes are spoilt."""
    deep = [b"[" * 5000, b'{"a":' * 3000, b"1" * 5000, b"NaN", b"-Infinity", b"\xef\xbb\xbf"]
    return st.one_of(
        altered(value).map(as_json),
        altered(value).map(as_json),
        spoilt([as_json(value)], [*deep, *fragments]),
    )
