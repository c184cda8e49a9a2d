"""Hold out parts of a data set for validation and test: by hashes of names, so alike on every machine."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

TEST_FRACTION = 0.2
VALIDATION_FRACTION = 0.1


def rank(purpose: str, name: str) -> bytes:
    """Return what a name is sorted by: a hash, which hardly changes the choice when some others are left out.

    Args:
        purpose: What is chosen, such as `test`, so that two choices among the same names are independent.
        name: Of a picture or a person.
    """
    return hashlib.sha256(f"{purpose}/{name}".encode("utf-8", "surrogateescape")).digest()


def held_out_names(labelled: Sequence[tuple[str, str]], fraction: float, purpose: str) -> set[str]:
    """Choose a stratified part of pictures without identities.

    Args:
        labelled: (name, expression) of every picture.
        fraction: Part of each class, in (0, 1).
        purpose: As in `rank`.

    Returns:
        The names of `fraction` of each class, rounded, at least one of a class of two or more.
    """
    of_class: dict[str, list[str]] = {}
    for name, expression in labelled:
        of_class.setdefault(expression, []).append(name)
    chosen: set[str] = set()
    for names in of_class.values():
        if len(names) > 1:
            count = max(round(fraction * len(names)), 1)
            chosen.update(sorted(names, key=lambda name: rank(purpose, name))[:count])
    return chosen


def validation_names(labelled: Sequence[tuple[str, str]]) -> set[str]:
    """Choose the validation part of a training set without identities; arguments and result as of `held_out_names`."""
    return held_out_names(labelled, VALIDATION_FRACTION, "validation")


def held_out_groups(groups: Iterable[str], fraction: float, purpose: str) -> set[str]:
    """Choose whole groups of pictures, such as people, who must not stand on both sides.

    Args:
        groups: The group of every picture.
        fraction: Part of the pictures, in (0, 1).
        purpose: As in `rank`.

    Returns:
        Groups that together hold at least `fraction` of the pictures; never all of several.
    """
    sizes = Counter(groups)
    wanted = fraction * sizes.total()
    chosen: set[str] = set()
    held = 0
    for group in sorted(sizes, key=lambda name: rank(purpose, name))[:-1]:
        if held >= wanted:
            break
        chosen.add(group)
        held += sizes[group]
    return chosen
