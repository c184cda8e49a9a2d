import csv
import io

import jinja2
import pytest

from fer.utils import rendering
from fer.utils.rendering import csv_text, markdown_table, text_table, unwrapped

ROWS = [["run", "set", "images"], ["a", "raf", "3"], ["longer", "kdef", "1,000"]]


def test_names_are_flush_left_and_numbers_flush_right() -> None:
    assert text_table(ROWS).splitlines() == [
        "run     set   images",
        "--------------------",
        "a       raf        3",
        "longer  kdef   1,000",
    ]


def test_markdown_is_aligned_too() -> None:
    assert markdown_table(ROWS).splitlines() == [
        "| run    | set  | images |",
        "| ------ | ---- | ------ |",
        "| a      | raf  | 3      |",
        "| longer | kdef | 1,000  |",
    ]


def test_csv_keeps_every_cell() -> None:
    rows = [["a", 'b "quoted", with a comma'], ["line\nbreak", ""]]
    text = csv_text(rows)
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows
    assert "\r" not in text


def test_values_are_escaped_in_pages_and_absent_ones_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "page.html").write_text("<p>{{ text }}</p>")
    (tmp_path / "page.md").write_text("{{ text }}\n")
    monkeypatch.setattr(rendering, "TEMPLATES", tmp_path)
    rendering._environment.cache_clear()
    try:
        assert rendering.render("page.html", text="<b> & 'x'") == "<p>&lt;b&gt; &amp; &#39;x&#39;</p>"
        assert rendering.render("page.md", text="<b>") == "<b>\n"
        with pytest.raises(jinja2.UndefinedError):
            rendering.render("page.html")
    finally:
        rendering._environment.cache_clear()


def test_a_paragraph_becomes_one_line_and_tables_lists_and_quotations_stay() -> None:
    text = "one\ntwo\n\n| a |\n| - |\n| b |\n\n> **Warning:** x\n\n- first\n- second\n\nlast\n"
    assert unwrapped(text) == "one two\n\n| a |\n| - |\n| b |\n\n> **Warning:** x\n\n- first\n- second\n\nlast"
