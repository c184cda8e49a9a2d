"""Compare what a picture file itself says of author and rights with its credit."""

import re

from fer.attribution.credits import CONTRADICTION
from fer.data.datasets.wikimedia import ListedFile

UNFREE_CLAIMS = ("all rights reserved", "non-commercial", "no derivatives")
"""Claims that no licence accepted on Commons makes."""


def claim_notes(item: ListedFile, author: str, licence: str, other: str = "Commons") -> list[str]:
    """Compare what the file itself says with its credit.

    Args:
        item: The picture.
        author: As the credit names the author; empty: it names none.
        licence: Likewise; while it is empty, each of the file's own claims is noted.
        other: Who gives the credit.
    """
    notes = []
    for claim in filter(None, item.claims.split("; ")):
        statement = f'the file itself says "{claim}"'
        if licence and _contradicts(claim, licence):
            notes.append(f'{CONTRADICTION}{statement}, {other} "{licence}"')
        elif not licence and _is_unfree(claim):
            notes.append(f"{CONTRADICTION}{statement}, which no licence accepted on Commons does")
        elif not licence:
            notes.append(statement)
    statement = f'the file itself names "{item.author}" as its author'
    if item.author and not author:
        notes.append(statement)
    elif item.author and not _words(item.author) & _words(author):
        notes.append(f'{CONTRADICTION}{statement}, {other} "{author}"')
    return notes


def _contradicts(claim: str, licence: str) -> bool:
    is_free = licence.casefold().startswith(("cc0", "public domain", "pd"))
    if claim in ("some rights reserved", "copyright claimed"):
        return is_free
    if claim in ("CC0", "public domain"):
        return not is_free
    return _is_unfree(claim) or claim.casefold() not in licence.casefold()


def _is_unfree(claim: str) -> bool:
    return claim in UNFREE_CLAIMS or "-NC" in claim or "-ND" in claim


def _words(name: str) -> set[str]:
    # Initials and particles are too short to tell two people apart.
    return {word for word in re.findall(r"\w+", name.casefold()) if len(word) > 2}
