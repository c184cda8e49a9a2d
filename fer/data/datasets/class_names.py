"""Read the names that people give to classes, such as `happy` or `3_Surprised`, as expressions."""

import re
from collections.abc import Iterable

from fer.errors import ConfigError, DataError, quoted, shortened, unknown_name
from fer.expressions import EXPRESSIONS

SYNONYMS = {
    "surprised": "surprise",
    "suprise": "surprise",
    "suprised": "surprise",
    "astonished": "surprise",
    "astonishment": "surprise",
    "fearful": "fear",
    "afraid": "fear",
    "scared": "fear",
    "disgusted": "disgust",
    "happy": "happiness",
    "joy": "happiness",
    "joyful": "happiness",
    "sad": "sadness",
    "angry": "anger",
    "calm": "neutral",
    "neutrality": "neutral",
}
"""Expressions by other words for them, common misspellings among these; in lower case."""
NO_EXPRESSION = "none"
"""What `map` gives a class that is to be left out."""


def expression_of(name: str) -> str | None:
    """Return the expression that a class's name means; None where it is no word for one.

    Case does not matter, nor a number before the word, by which folders are put in order (`3_happy`). A bare number
    means nothing: every data set counts in an order of its own.
    """
    word = re.sub(r"^\d+[\s._-]*", "", name.strip()).casefold()
    return word if word in EXPRESSIONS else SYNONYMS.get(word)


def parse_class_map(text: str) -> dict[str, str | None]:
    """Read an option such as `rage:anger,7:neutral,contempt:none`.

    Returns:
        By class, its expression, or None for one to leave out.

    Raises:
        ConfigError: It is not of this form, names no expression, or names a class twice.
    """
    mapping: dict[str, str | None] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        # A class's name may hold a colon, an expression's does not.
        name, colon, meant = (part.strip() for part in pair.rpartition(":"))
        if not colon or not name:
            raise ConfigError(f"map {quoted(text)}: {quoted(pair)} is not of the form class:expression")
        expression = None if meant.casefold() == NO_EXPRESSION else expression_of(meant)
        if expression is None and meant.casefold() != NO_EXPRESSION:
            raise ConfigError(f"map {quoted(text)}: {unknown_name('expression', meant, [*EXPRESSIONS, NO_EXPRESSION])}")
        if name in mapping:
            raise ConfigError(f"map {quoted(text)} names the class {quoted(name)} twice")
        mapping[name] = expression
    return mapping


def map_classes(classes: Iterable[str], given: dict[str, str | None]) -> dict[str, str | None]:
    """Return the expression of every class: as the map says, else by its name, else None.

    Args:
        classes: Names of the classes that were found.
        given: What `parse_class_map` read.

    Raises:
        ConfigError: The map names a class that was not found.
        DataError: No class means an expression.
    """
    names = list(classes)
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ConfigError(f"map: {unknown_name('class', unknown[0], names)}")
    mapped = {name: given[name] if name in given else expression_of(name) for name in names}
    if not any(mapped.values()):
        # No whole map: who copied it would have labelled the pictures by our order.
        raise DataError(
            f"no class means an expression: there are {quoted(', '.join(names))}; say what each shows, such as "
            f"map={shortened(names[0])}:<expression>,... with {', '.join(EXPRESSIONS)} or {NO_EXPRESSION}"
        )
    return mapped
