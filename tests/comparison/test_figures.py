from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fer.comparison.comparing import compare
from fer.comparison.figures import figures, per_class, svg
from fer.comparison.grouping import Configuration, style
from fer.evaluation.metrics import confusion_matrix
from tests.comparison.made import SETS, answers, labels, run

TRUTH = labels(84)
LONG = "resnet50 $x_1 _pre-trained for 300 epochs at 224 pixels on a great many faces without any labels"


def compared(count=2, seeds=(0,), baseline="", **options):
    """Configurations of rising accuracy, on Wikimedia."""
    return compare(
        [
            run(
                f"{LONG} {n}", {"wikimedia": (TRUTH, answers(TRUTH, 0.4 + 0.04 * n, 10 * n + seed))}, seed,
                minutes=5.0 + n + seed, config={"lr": n},
                curves={"train/loss": ((1, 2.0), (2, 1.0 + n)), "validation/accuracy": ((1, 0.2), (2, 0.3 + n / 20))},
                **options,
            )
            for n in range(count)
            for seed in seeds
        ],
        SETS, {"row": {"wikimedia": {"accuracy": 0.464}}}, baseline,
    )  # fmt: skip


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_dots_and_bars_are_the_tables_figures():
    found = compared(2)
    axes = per_class(found, "wikimedia").axes[0]
    lines = [line for line in axes.lines if line.get_label().startswith(("A: ", "B: ")) or len(line.get_xdata()) == 2]
    dots = sorted(float(line.get_xdata()[0]) for line in axes.lines if len(line.get_xdata()) == 1)
    bars = sorted(tuple(line.get_xdata()) for line in lines if line.get_linewidth() == 1.6)
    cells = [cell for row in found.rows for cell in row.measurements.values()]
    assert dots == pytest.approx(sorted(100 * cell.value for cell in cells))
    assert np.allclose(bars, sorted(tuple(100 * end for end in cell.interval) for cell in cells))


def test_what_was_reported_is_a_hollow_dot():
    axes = per_class(compared(2, reproduces="row"), "wikimedia").axes[0]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [float(line.get_xdata()[0]) for line in hollow] == pytest.approx([46.4, 46.4])


def test_differences_of_confusions_are_in_points_of_the_true_class():
    found = compared(3, baseline="B")
    figure = figures(found)["confusion_difference-wikimedia"]
    panels = [axes for axes in figure.axes if axes.images and axes.get_title()]
    assert [axes.get_title()[0] for axes in panels] == ["A", "C"]
    counts = [
        confusion_matrix(TRUTH, one.runs[0].predictions["wikimedia"].predicted, 7) for one in found.configurations
    ]
    for axes, other in zip(panels, (counts[0], counts[2]), strict=True):
        assert np.allclose(axes.images[0].get_array(), 100 * (other - counts[1]) / 12)


def test_curves_and_minutes_show_each_seed_and_their_mean():
    found = compared(2, seeds=(0, 1, 2))
    drawn = figures(found)
    for axes in drawn["learning_curves"].axes[:2]:
        assert len(axes.lines) == 2 * (3 + 1)
    (axes,) = drawn["minutes"].axes
    means = [line for line in axes.lines if line.get_markersize() == 9]
    assert [float(line.get_xdata()[0]) for line in means] == [6.0, 7.0]
    assert [float(line.get_ydata()[0]) for line in means] == pytest.approx(
        [100 * row.measurements["accuracy"].value for row in found.rows]
    )


def test_runs_without_curves_and_times_have_no_such_figures():
    runs = [run(name, {"raf": (TRUTH, TRUTH)}, config={"lr": n}) for n, name in enumerate("ab")]
    assert set(figures(compare(runs, SETS, {}))) == {"per_class-raf", "confusion_difference-raf"}


def test_ten_configurations_with_long_names_stay_apart_and_inside_the_figure():
    drawn = figures(compared(10))
    assert len({style(Configuration(n, "", ()))[:2] for n in range(10)}) == 10
    for name, figure in drawn.items():
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        if not name.startswith("confusion"):
            assert len(set(legend(figure))) == 10
            box = figure.legends[0].get_window_extent(renderer)
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.width
        titles = [axes.title.get_window_extent(renderer) for axes in figure.axes if axes.get_title()]
        assert not [(a, b) for i, a in enumerate(titles) for b in titles[i + 1 :] if a.overlaps(b)]


def test_equal_figures_are_equal_files_without_any_name_as_markup():
    found = replace(compared(2), titles={"wikimedia": "<script>"})
    first, second = (svg(per_class(found, "wikimedia")) for _ in range(2))
    assert first == second
    assert "<script>" not in first


def test_a_name_with_control_characters_leaves_every_figure_well_formed():
    curves = dict.fromkeys(("train/loss", "validation/accuracy"), ((1, 0.9), (2, 0.6)))
    names = ("plain", "\x1b[31m red \x00 & <b>")
    runs = [
        run(name, {"raf": (TRUTH, answers(TRUTH, 0.6, n))}, config={"lr": n}, minutes=1.0, curves=curves)
        for n, name in enumerate(names)
    ]
    drawn = figures(compare(runs, SETS, {}))
    assert len(drawn) == 4
    for figure in drawn.values():
        assert ElementTree.fromstring(svg(figure)).tag.endswith("svg")
