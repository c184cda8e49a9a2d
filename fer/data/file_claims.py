"""What a picture's own metadata say of its author and rights, held against a credit from elsewhere."""

import re

from fer.data.credits import CONTRADICTION
from fer.data.embedded import UNFREE
from fer.data.wikimedia_files import ListedFile


def claim_notes(item: ListedFile, author: str, licence: str, other: str = "Commons") -> list[str]:
    """Return notes on what the file itself says and its credit does not.

    Args:
        item: The picture.
        author: As the credit names the author; empty: it names none.
        licence: Likewise; while it is empty, each of the file's own claims is noted.
        other: Who gives the credit.
    """
    notes = []
    for claim in item.claims.split("; ") if item.claims else []:
        said = f'the file itself says "{claim}"'
        if licence and _contradicts(claim, licence):
            notes.append(f'{CONTRADICTION}{said}, {other} "{licence}"')
        elif not licence and _unfree(claim):
            notes.append(f"{CONTRADICTION}{said}, which no licence accepted on Commons does")
        elif not licence:
            notes.append(said)
    named = f'the file itself names "{item.author}" as its author'
    if item.author and not author:
        notes.append(named)
    elif item.author and not _words(item.author) & _words(author):
        notes.append(f'{CONTRADICTION}{named}, {other} "{author}"')
    return notes


def _contradicts(claim: str, licence: str) -> bool:
    free = licence.casefold().startswith(("cc0", "public domain", "pd"))
    if claim in ("some rights reserved", "copyright claimed"):
        return free
    if claim in ("CC0", "public domain"):
        return not free
    return _unfree(claim) or claim.casefold() not in licence.casefold()


def _unfree(claim: str) -> bool:
    return claim in UNFREE or "-NC" in claim or "-ND" in claim


def _words(name: str) -> set[str]:
    return {word for word in re.findall(r"\w+", name.casefold()) if len(word) > 2}
