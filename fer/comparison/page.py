"""A comparison as one HTML page that needs nothing beside it: it loads no other file and runs no script."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence

from fer.comparison.comparing import Comparison
from fer.comparison.configurations import Configuration
from fer.comparison.figures import style
from fer.comparison.render import (
    FIGURES,
    HEADINGS,
    TEST_HEADINGS,
    counted,
    members,
    option_cells,
    paired_cells,
    printable,
)
from fer.comparison.tables import MEASURES, Cell, Row

_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #1c1c1c; --soft: #666; --line: #d8d8d8; --band: #f4f5f7;
  --warn: #fff4e0; --edge: #d98200; }
@media (prefers-color-scheme: dark) { :root { --ground: #16181c; --text: #e8e8e8; --soft: #a4a8ae; --line: #3a3d43;
  --band: #1f2227; --warn: #33270f; --edge: #e69f00; } }
html { font-size: 15px; }
body { font: 1rem/1.5 system-ui, sans-serif; color: var(--text); background: var(--ground); max-width: 76rem;
  margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin: 0 0 1rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top;
  white-space: nowrap; }
thead th { background: var(--band); font-weight: 600; }
th.name, td.name { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
tr.part td, tr.part th { color: var(--soft); } small { color: var(--soft); display: block; font-size: .78rem; }
.mark { display: inline-block; min-width: 1.1em; padding: 0 .25em; margin-right: .4em; border-left: .4em solid;
  font-weight: 700; }
.key { list-style: none; padding: 0; } .key li { margin: .25rem 0; overflow-wrap: anywhere; }
.key small { display: inline; margin-left: .5em; }
.words td { text-align: left; white-space: normal; overflow-wrap: anywhere; } .words th { text-align: left; }
.said li { margin: .4rem 0; overflow-wrap: anywhere; }
.warn { background: var(--warn); border-left: .3rem solid var(--edge); padding: .5rem .8rem; margin: .5rem 0;
  overflow-wrap: anywhere; }
figure { margin: 1.2rem 0; break-inside: avoid; } figcaption { color: var(--soft); font-size: .85rem; }
img { max-width: 100%; background: #fff; border-radius: .4rem; border: 1px solid var(--line); }
@media print { :root { --ground: #fff; --text: #000; --soft: #444; --line: #bbb; --band: #eee; --warn: #fff4e0; }
  html { font-size: 10px; } body { margin: 0; max-width: none; }
  .wide { overflow: visible; } th, td { padding: .15rem .3rem; }
  tr, .warn { break-inside: avoid; } h2, h3 { break-after: avoid; } }
@page { size: A4 landscape; margin: 12mm; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_CAPTIONS = {
    "per_class": "Dots are accuracies (means over seeds), bars 95 % intervals, numbers in brackets test images; "
    "hollow: reported in 2021.",
    "confusion_difference": "On the images both answered. Blue on the diagonal and red beside it is better.",
    "learning_curves": "Thin: one seed; thick: the mean of the seeds at the epochs all reached.",
    "minutes": "From the start of a run to its end, with preparation of the arrays and tests; continued runs are left "
    "out. For rows of the 2021 table: of the whole training. Small: one seed; large: their mean.",
}


def page(found: Comparison, figures: Mapping[str, str]) -> str:
    """Return the report as HTML.

    Args:
        found: The comparison.
        figures: SVG files by name without ending, drawn where the page has their place.
    """
    by_set = {name: [key for key in figures if key.endswith(f"-{name}")] for name in found.titles}
    others = [key for key in figures if not any(key in keys for keys in by_set.values())]
    parts = [
        "<h1>Comparison</h1>",
        '<ul class="key">' + "".join(_key(found, one) for one in found.configurations) + "</ul>",
        *_options(found),
        "<h2>What came out</h2>",
        *(f'<p class="warn"><strong>Warning:</strong> {_text(line)}</p>' for line in found.warnings),
        *_verdicts(found),
        _list(found.notes),
    ]
    for name, title in found.titles.items():
        parts += [f"<h2>{_text(title)}</h2>", "<p>Accuracy in per cent.</p>", _set(found, name)]
        parts += [_figure(key, figures[key]) for key in by_set[name]]
    parts += [_figure(key, figures[key]) for key in others]
    if found.tests:
        parts += ["<h2>Tests</h2>", _table(TEST_HEADINGS, paired_cells(found))]
    parts += ["<h2>How this was computed</h2>", _list(found.methods)]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Comparison of runs</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body>\n</html>\n"
    )


def _verdicts(found: Comparison) -> list[str]:
    """Return the sentences, under the sets' names where there are several."""
    if not found.verdicts:
        return ["<p>There is nothing to test.</p>"]
    several = len(found.verdicts) > 1
    return [
        (f"<h3>{_text(found.titles[name])}</h3>" if several else "") + _list(lines, "said")
        for name, lines in found.verdicts.items()
    ]


def _text(text: str) -> str:
    return html.escape(printable(text))


def _name(text: str) -> str:
    # <bdi> keeps a name written from right to left from turning round what stands beside it.
    return f"<bdi>{_text(text)}</bdi>"


def _mark(found: Comparison, one: Configuration) -> str:
    colour = style(found.configurations.index(one))[0]
    return f'<span class="mark" style="border-color: {colour}">{one.letter}</span>'


def _key(found: Comparison, one: Configuration) -> str:
    return f"<li>{_mark(found, one)}{_name(one.name)} <small>{_text(members(one))}</small></li>"


def _options(found: Comparison) -> list[str]:
    cells = option_cells(found)
    return ["<h3>Options in which they differ</h3>", _table(cells[0], cells[1:], "words")] if cells else []


def _list(lines: Sequence[str], kind: str = "") -> str:
    start = f'<ul class="{kind}">' if kind else "<ul>"
    return start + "".join(f"<li>{_text(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    lines = ["<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    top = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    return f'<div class="wide {kind}"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _set(found: Comparison, name: str) -> str:
    inside = [row for row in found.rows if row.place.partition("/")[0] == name]
    support = next((row.support for row in inside if row.place == name and row.support), {})
    names = [heading.removesuffix(" [95 %]") for heading in HEADINGS]
    heads = [f"<th>{head}{_small(f'{support[head]} images') if head in support else ''}</th>" for head in names]
    lines = [_row(found, row) for row in inside]
    top = f'<th class="name">configuration</th><th>images</th>{"".join(heads)}'
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _row(found: Comparison, row: Row) -> str:
    part = row.place.partition("/")[2]
    name = f"{_mark(found, row.configuration)}{_name(row.configuration.name)}{_small(part)}"
    cells = "".join(f"<td>{_figure_cell(row.cells[key])}</td>" for key in MEASURES)
    kind = ' class="part"' if part else ""
    return f'<tr{kind}><th class="name" scope="row">{name}</th><td>{_text(counted(row))}</td>{cells}</tr>'


def _figure_cell(cell: Cell) -> str:
    if cell.value is None:
        text = "-"
    else:
        text = f"{cell.value * 100:.1f}" + ("" if cell.deviation is None else f" ±{cell.deviation * 100:.1f}")
    if cell.interval:
        text += _small(f"[{cell.interval[0] * 100:.1f}, {cell.interval[1] * 100:.1f}]")
    return text if cell.reported is None else text + _small(f"2021: {cell.reported * 100:.1f}")


def _small(text: str) -> str:
    return f"<small>{_text(text)}</small>" if text else ""


def _figure(name: str, svg: str) -> str:
    kind = next(kind for kind in FIGURES if name.startswith(kind))
    # As a data address, so that the pictures' own ids cannot meet and their text cannot become part of the page.
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    return f'<figure><img src="{source}" alt="{FIGURES[kind]}"><figcaption>{_CAPTIONS[kind]}</figcaption></figure>'
