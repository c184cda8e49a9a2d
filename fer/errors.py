"""Errors a user can cause, and the sentences that tell them the cure."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

LONGEST_QUOTE = 100
LONGEST_PATH = 300
"""Characters of a user's value and of a path that a message quotes at most."""
MAX_LISTED_NAMES = 20
LONGEST_LIST = 300
"""Names that a message lists at most, and the characters of all of them."""


class FerError(Exception):
    """A fault in what the user gave: options, files or models.

    The message is one sentence that names the fault and its cure. The command line prints it without
    a trace and ends with exit code 2; a tracked run that had begun ends FAILED with the sentence in the tag `fer.error`
    and in its description, and one of which nothing is recorded yet is deleted.
    """


class ConfigError(FerError):
    """An option, a configuration file or one of its keys is wrong."""


class DataError(FerError):
    """A data set is absent, damaged or not what it claims to be."""


class ModelError(FerError):
    """Starting weights, a checkpoint or a registered model cannot be used."""


class RegistrationError(FerError):
    """The model registry refuses a version or does not answer; the logged model is not affected."""


class Interrupted(BaseException):
    """A signal asked the process to stop; what was trained so far is saved.

    Like `KeyboardInterrupt` it is no `Exception`, which libraries catch and turn into faults of their own.

    Attributes:
        signum: The signal's number. The process exits with 128 + signum.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.signum = signum


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> str:
    """Return a sentence that says `name` is no known `kind` and what was probably meant.

    Args:
        kind: What the name stands for, such as "data set".
        name: What the user wrote.
        valid: The names that exist.
    """
    names = sorted(valid)
    # Below that, what is near is more often misleading than meant.
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"unknown {kind} {quoted(name)}: did you mean {quoted(near[0])}?"
    listed = [shortened(valid_name) for valid_name in names[:MAX_LISTED_NAMES]]
    if len(names) > MAX_LISTED_NAMES:
        listed.append("...")
    # Names may be those that a user gave to many long things.
    return f"unknown {kind} {quoted(name)}: choose from {shortened(', '.join(listed), LONGEST_LIST)}"


def quoted(value: object) -> str:
    """Return a user's value as a message quotes it: its `repr`, of at most `LONGEST_QUOTE` characters."""
    return shortened(repr(value))


def quoted_path(path: Path | str) -> str:
    """Return a path as a message quotes it, of at most `LONGEST_PATH` characters."""
    return shortened(repr(str(path)), LONGEST_PATH)


def shortened(text: str, most: int = LONGEST_QUOTE) -> str:
    """Return a text in one line of at most `most` characters, without logins; what is cut off leaves an ellipsis.

    Signs that would steer a terminal are written as Python writes them in a `repr`.
    """
    line = without_login(" ".join(text.split()))
    if not line.isprintable():
        line = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in line)
    return line if len(line) <= most else f"{line[: most - 3]}..."


def without_login(text: str) -> str:
    """Return a text, such as an address, without the user and password that stand before hosts in addresses."""
    return re.sub(r"://[^/\s]*@", "://", text)
