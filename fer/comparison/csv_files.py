"""Write the numbers of a comparison as CSV, for programs."""

from collections.abc import Sequence

from fer.comparison.table import Row
from fer.comparison.testing import PairedTest
from fer.utils.rendering import csv_text, no_formula


def table_csv(rows: Sequence[Row]) -> str:
    """Return rows of the table as CSV, one figure a line, accuracies in [0, 1]."""
    head = ["configuration", "name", "runs", "set", "images"]
    lines: list[list[object]] = [[*head, "measure", "value", "deviation", "low", "high", "reported"]]
    for row in rows:
        one = row.configuration
        ids = " ".join(run.id for run in one.runs)
        start = [one.letter, no_formula(one.name), ids, row.subset, row.images]
        for measure, figure in row.measurements.items():
            # None is an empty cell.
            low, high = figure.interval or (None, None)
            numbers = [figure.value, figure.deviation, low, high, figure.reported]
            lines.append([*start, measure, *numbers])
    return csv_text(lines)


def paired_tests_csv(tests: Sequence[PairedTest]) -> str:
    """Return tests as CSV, differences in [-1, 1]."""
    head = ["set", "first", "second", "measure", "test", "images", "difference", "low", "high", "p", "p_adjusted"]
    rows: list[list[object]] = [[*head, "only_first", "only_second", "smallest_difference"]]
    for test in tests:
        compared = [test.dataset, test.first.letter, test.second.letter, test.measure, test.method, test.images]
        difference = [test.estimate, test.low, test.high, test.p, test.adjusted_p]
        # None is an empty cell.
        rows.append([*compared, *difference, test.only_first, test.only_second, test.smallest])
    return csv_text(rows)
