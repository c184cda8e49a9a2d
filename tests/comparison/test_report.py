"""The report's files: HTML, Markdown, CSV and the terminal's text."""

import csv
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy import stats

from fer.comparison.comparing import compare
from fer.comparison.figures import figures, svg
from fer.comparison.report import ReportOrigin, html, markdown, terminal
from fer.comparison.table import paired_tests_csv, table_csv
from fer.expressions import EXPRESSIONS
from tests.comparison.made import SETS, answers, labels, run

TRUTH = labels(140, absent=(2,))
EVIL = "<script>alert('x')</script> & | `b` $x_1$ \x1b[31m\n=1+1"
REPORTED = {"row": {"raf": {"accuracy": 0.45, "fear": 0.05}}}


@pytest.fixture(scope="module")
def found():
    """A configuration with a hostile name and two seeds, and a single run that repeats a reported row."""
    runs = [run(EVIL, {"raf": (TRUTH, answers(TRUTH, 0.7, n))}, n, minutes=3.0 + n) for n in (0, 1)]
    curves = dict.fromkeys(("train/loss", "validation/accuracy"), ((1, 0.9), (2, 0.6)))
    runs.append(run("plain", {"raf": (TRUTH, answers(TRUTH, 0.5, 5))}, minutes=2.0, curves=curves, reproduces="row"))
    return compare(runs, SETS, REPORTED)


@pytest.fixture(scope="module")
def drawn(found):
    return {name: svg(figure) for name, figure in figures(found).items()}


class Page(HTMLParser):
    """Collects tags, addresses and the text of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href") and value]

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_runs_nothing_loads_nothing_and_shows_names_as_they_are(found, drawn):
    content = html(found, drawn, ReportOrigin())
    parsed = Page(content)
    assert "script" not in parsed.tags
    assert all(address.startswith("data:image/svg+xml;base64,") for address in parsed.addresses)
    assert "http://" not in content.replace("http-equiv", "")
    assert "default-src 'none'" in content
    assert any("<script>alert('x')</script> & | `b`" in words for words in parsed.words)
    assert "\x1b" not in content


def test_the_page_shows_every_figure_of_the_comparison(found, drawn):
    parsed = Page(html(found, drawn, ReportOrigin()))
    assert set(drawn) == {"per_class-raf", "confusion_difference-raf", "learning_curves", "minutes"}
    assert parsed.tags.count("img") == len(drawn)
    assert {"reported in 2021", "45.0", "5.0"} <= set(parsed.words)
    assert {f"{count} images" for count in found.rows[0].support.values()} <= set(parsed.words)
    assert all(sentence in " ".join(parsed.words) for sentence in found.methods)


def test_the_report_says_when_and_of_what_code_it_was_made_and_links_every_run_whose_page_is_known(found, drawn):
    ids = [item.id for one in found.configurations for item in one.runs]
    address = "http://127.0.0.1:5000/#/experiments/1/runs/"
    origin = ReportOrigin("2026-11-30", "commit abc", {name: f"{address}{name}" for name in ids[:2]})
    parsed, text = Page(html(found, drawn, origin)), markdown(found, drawn, origin)
    assert any("Made on 2026-11-30, commit abc" in words for words in parsed.words)
    assert "Made on 2026-11-30, commit abc." in text
    links = [link for link in parsed.addresses if not link.startswith("data:")]
    assert links == re.findall(r"\]\((http[^)]*)\)", text) == [f"{address}{name}" for name in ids[:2]]
    assert set(ids) <= set(parsed.words)


def test_the_page_fits_dark_screens_and_paper(found):
    content = html(found, {}, ReportOrigin())
    assert "prefers-color-scheme: dark" in content
    assert "@media print" in content


def test_markdown_shows_names_as_they_are_and_its_tables_are_whole(found, drawn):
    text = markdown(found, drawn, ReportOrigin())
    assert "<script>" not in text
    assert "\x1b" not in text
    tables = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    assert len(tables) == 4
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().splitlines()}
        assert len(widths) == 1
    assert "![Accuracy by expression](figures/per_class-raf.svg)" in text
    assert all(
        re.search(rf"^- .*{word}", text, re.MULTILINE) for word in ("cannot be told|is better than", "Clark 1973")
    )


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_every_number_of_the_csv_table_equals_an_independent_computation(found):
    table = {(row["configuration"], row["measure"]): row for row in rows(table_csv(found.rows))}
    for one in found.configurations:
        right = np.array([item.predictions["raf"].predicted == TRUTH for item in one.runs])
        parts = {f"{name}": right[:, n == TRUTH] for n, name in enumerate(EXPRESSIONS)} | {"accuracy": right}
        for measure, part in parts.items():
            row = table[one.letter, measure]
            if not part.size:
                assert (row["value"], row["low"], row["high"]) == ("", "", "")
                continue
            shares = part.mean(axis=1)
            assert float(row["value"]) == pytest.approx(shares.mean())
            assert (row["deviation"] == "") == (len(shares) == 1)
            assert len(shares) == 1 or float(row["deviation"]) == pytest.approx(shares.std(ddof=1))
            assert 0 <= float(row["low"]) <= float(row["value"]) <= float(row["high"]) <= 1
        classes = [n for n in range(7) if n != 2]
        means = [np.mean([answer[n == TRUTH].mean() for n in classes]) for answer in right]
        assert float(table[one.letter, "class_mean"]["value"]) == pytest.approx(np.mean(means))
    assert table["B", "accuracy"]["reported"] == "0.45"
    assert table["A", "accuracy"]["reported"] == ""
    assert len(table) == 2 * 9


def test_every_number_of_the_csv_of_tests_equals_an_independent_computation(found):
    accuracy, mean = rows(paired_tests_csv(found.tests))
    ours, theirs = (
        np.array([item.predictions["raf"].predicted == TRUTH for item in one.runs], dtype=float)
        for one in found.configurations
    )
    gain = ours.mean(axis=0) - theirs[0]
    images, seeds = gain.var(ddof=1) / len(TRUTH), ours.mean(axis=1).var(ddof=1) * (1 / 2 + 1)
    residual = (ours - ours.mean(axis=0)).var(axis=1, ddof=1).sum() / len(TRUTH) * (1 / 2 + 1)
    variance, many = max(images + seeds - residual, images, seeds), len(TRUTH) - 1
    freedom = variance**2 / (images**2 / many + seeds**2 / 1 + residual**2 / many)
    p = 2 * stats.t.sf(abs(gain.mean()) / variance**0.5, freedom)
    assert float(accuracy["difference"]) == pytest.approx(gain.mean())
    assert float(accuracy["p"]) == pytest.approx(p)
    smaller, larger = sorted((float(accuracy["p"]), float(mean["p"])))
    assert {float(accuracy["p_adjusted"]), float(mean["p_adjusted"])} == {
        min(1, 2 * smaller),
        max(larger, min(1, 2 * smaller)),
    }
    assert (accuracy["test"], accuracy["images"], accuracy["only_first"]) == ("quasi-F", "140", "")


def test_a_spreadsheet_computes_no_name():
    runs = [run(name, {"raf": (TRUTH, TRUTH)}, config={"lr": n}) for n, name in enumerate(("=1+1", "@x"))]
    assert {row["name"] for row in rows(table_csv(compare(runs, SETS, {}).rows))} == {"'=1+1", "'@x"}


def test_the_terminal_gets_key_table_and_words_and_no_control_characters(found):
    text = terminal(found)
    assert re.search(r"^A: <script>.*\(seeds 0, 1; runs [0-9a-f]{8}, [0-9a-f]{8}\)$", text, re.MULTILINE)
    assert re.search(r"^A  raf +140 .* -  .*\d\d\.\d ±\d\.\d \[\d\d\.\d, \d\d\.\d\]$", text, re.MULTILINE)
    assert re.search(r"^ +reported in 2021 +- +5\.0 .* 45\.0 +-$", text, re.MULTILINE)
    assert re.search(r"^\* ", text, re.MULTILINE)
    assert "\x1b" not in text


def test_the_options_that_differ_are_listed_and_no_others(found):
    runs = [
        run(name, {"raf": (TRUTH, TRUTH)}, config={"lr": lr, "augment": True, "class_weights": weights})
        for name, lr, weights in (("a", 0.1, []), ("b", 0.2, [1.0, 2.0]))
    ]
    text = markdown(compare(runs, SETS, {}), {}, ReportOrigin())
    table = text.partition("## What differs\n\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert rows[0] == ["", "lr", "arch", r"class\_weights"]
    assert rows[2:] == [["A", "0.1", "a", "none"], ["B", "0.2", "b", "1.0,2.0"]]


def test_a_name_from_right_to_left_turns_no_number_round():
    name = "پنج 12"
    runs = [run(other, {"raf": (TRUTH, answers(TRUTH, 0.6, n))}) for n, other in enumerate((name, "plain"))]
    found = compare(runs, SETS, {})
    for form in (terminal(found), markdown(found, {}, ReportOrigin()), html(found, {}, ReportOrigin())):
        assert f"A: \u2068{name}\u2069 (" in form
        assert f"\u2068{name}\u2069 and plain" in form
    assert {row["name"] for row in rows(table_csv(found.rows))} == {name, "plain"}


def test_figures_stand_with_their_own_data_set_though_its_name_ends_in_anothers():
    sets = {"raf": ("RAF-DB", ()), "drawn-raf": ("Drawn faces", ())}
    pair = (TRUTH, answers(TRUTH, 0.6, 0))
    found = compare([run(name, dict.fromkeys(sets, pair)) for name in "ab"], sets, {})
    text = markdown(found, {f"per_class-{name}": "" for name in sets}, ReportOrigin())
    assert re.findall(r"^## (.*): accuracy|\(figures/per_class-(.*)\.svg\)", text, re.MULTILINE) == [
        ("RAF-DB", ""),
        ("", "raf"),
        ("Drawn faces", ""),
        ("", "drawn-raf"),
    ]
