"""Sentences quote what a user gave in one line, whatever that holds."""

import pytest

from fer.errors import quoted_path, shortened, unknown_name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a name", "a name"),
        ("two\nlines\tand\u2028more", "two lines and more"),
        ("چهره é", "چهره é"),
        ("red\x1b[31m\x00", r"red\x1b[31m\x00"),
        ("byte \udcfe", r"byte \udcfe"),
        ("https://user:secret@example.org/x", "https://example.org/x"),
        ("x" * 200, "x" * 97 + "..."),
    ],
)
def test_a_text_is_quoted_in_one_short_line_without_logins(text: str, shown: str) -> None:
    assert shortened(text) == shown


def test_a_path_may_be_longer_and_has_a_limit_too() -> None:
    assert quoted_path("y" * 250) == repr("y" * 250)
    assert len(quoted_path("y" * 1000)) == 300


def test_an_unknown_name_is_answered_with_the_nearest_or_a_list_that_ends() -> None:
    assert unknown_name("data set", "rav", ["raf", "kdef"]) == "unknown data set 'rav': did you mean 'raf'?"
    listed = unknown_name("data set", "zzz", [f"set-{number}" for number in range(50)])
    assert listed.endswith("...")
    assert len(listed) < 400
