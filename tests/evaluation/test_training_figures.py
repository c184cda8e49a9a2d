import sys

import numpy as np
import pytest

from fer.evaluation import training_figures as figures
from fer.expressions import EXPRESSIONS
from tests.evaluation.test_figures import LONG, overlaps, render, words


def curve(axes, key):
    (line,) = [line for line in axes.lines if line.get_label() == key]
    return [[float(x), float(y)] for x, y in zip(*line.get_data(), strict=True)]


def test_learning_curves_draw_each_key_at_its_epochs():
    history = [
        {"train/loss": 2.0, "validation/loss": 2.5, "validation/accuracy": 0.5, "lr": 0.1},
        {"train/loss": 1.0, "lr": 0.05},
        {"train/loss": 0.5, "validation/loss": 1.5, "validation/accuracy": 0.75, "lr": 0.01},
        {"train/loss": 0.4, "validation/loss": 1.6, "validation/accuracy": 0.75, "lr": 0.01},
    ]
    figure = figures.learning_curves(history, LONG)
    loss, accuracy, rate = figure.axes
    assert curve(loss, "train/loss") == [[1, 2.0], [2, 1.0], [3, 0.5], [4, 0.4]]
    assert curve(loss, "validation/loss") == [[1, 2.5], [3, 1.5], [4, 1.6]]
    assert curve(accuracy, "validation/accuracy") == [[1, 0.5], [3, 0.75], [4, 0.75]]
    assert curve(rate, "lr") == [[1, 0.1], [2, 0.05], [3, 0.01], [4, 0.01]]
    assert words(loss.get_legend().get_texts()) == ["train/loss", "validation/loss"]
    assert accuracy.get_title() == "best validation accuracy 75.0% at epoch 3"
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy", "learning rate"]
    assert rate.get_xlabel() == "epoch"
    assert render(figure)[0] == 800


@pytest.mark.parametrize(("count", "ticks"), [(1, ["1"]), (2, ["1", "2"])])
def test_short_histories_have_whole_epochs_and_only_recorded_panels(count, ticks):
    figure = figures.learning_curves([{"train/loss": 1.0}] * count, "pretrain")
    (axes,) = figure.axes
    render(figure)
    low, high = axes.get_xlim()
    assert [label.get_text() for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high] == ticks


def test_figures_leave_global_state_alone():
    figures.learning_curves([{"train/loss": 1.0}], "any")
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_feature_map_gives_each_expression_its_points_colour_shape_and_count():
    names = ["fear"] * 3 + ["neutral"] * 2 + ["fear"] * 4
    points = np.random.default_rng(0).normal(size=(9, 2))
    figure = figures.feature_map_figure(points, names, LONG)
    (axes,) = figure.axes
    fear, neutral = axes.collections
    assert fear.get_offsets().tolist() == points[[0, 1, 2, 5, 6, 7, 8]].tolist()
    assert neutral.get_offsets().tolist() == points[[3, 4]].tolist()
    assert words(axes.get_legend().get_texts()) == ["fear (7)", "neutral (2)"]
    assert render(figure)[0] == 800
    assert not overlaps([figure._suptitle, *axes.get_legend().get_texts()], figure)


def test_feature_map_tells_all_expressions_apart_by_colour_and_by_shape():
    assert set(figures.POINTS) == set(EXPRESSIONS)
    colours, shapes = zip(*figures.POINTS.values(), strict=True)
    assert len(set(colours)) == len(set(shapes)) == 7
    figure = figures.feature_map_figure(np.zeros((700, 2)), list(EXPRESSIONS) * 100, "any")
    assert words(figure.axes[0].get_legend().get_texts()) == [f"{name} (100)" for name in EXPRESSIONS]
    assert render(figure)[0] == 800
