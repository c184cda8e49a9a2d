"""The seven expressions, their stored order and RAF-DB's codes 1 to 7."""

from collections.abc import Sequence

from fer.errors import ModelError, shortened

EXPRESSIONS = (
    "surprise",
    "fear",
    "disgust",
    "happiness",
    "sadness",
    "anger",
    "neutral",
)
"""Stored order of every array, table, checkpoint and model; index = code - 1."""


def code_of(expression: str) -> int:
    """Return the code, 1 to 7, of an expression's name."""
    return EXPRESSIONS.index(expression) + 1


def name_of(code: int) -> str:
    """Return the expression's name for a code.

    Raises:
        ValueError: `code` is not in 1 to 7.
    """
    if not 1 <= code <= len(EXPRESSIONS):
        raise ValueError(f"expression code {code} is not in 1-{len(EXPRESSIONS)}")
    return EXPRESSIONS[code - 1]


def check_order(stored: Sequence[str], where: str) -> None:
    """Refuse a file whose classes are not the seven expressions in the stored order.

    Raises:
        ModelError: `stored` differs from `EXPRESSIONS`.
    """
    # Sorted by name, as folders of classes are, they would silently be taken for one another.
    if tuple(stored) != EXPRESSIONS:
        raise ModelError(
            f"{where} orders its expressions as {shortened(', '.join(stored)) or 'nothing'}, "
            f"not as {', '.join(EXPRESSIONS)}: it cannot be compared or continued here"
        )
