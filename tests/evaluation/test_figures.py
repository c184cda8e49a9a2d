import io
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from fer.evaluation import figures
from fer.evaluation.report import report
from fer.expressions import EXPRESSIONS

LONG = (
    "swav-imagenet-resnet50 $x_1 a_run_with_a_very_long_name, 300 epochs at 224 pixels, seed 17, on wikimedia, and more"
)


def predictions(support, seed=0):
    labels = np.repeat(np.arange(7), support)
    scores = np.random.default_rng(seed).normal(size=(len(labels), 7))
    scores[np.arange(len(labels)), labels] += 1.5
    odds = np.exp(scores)
    return labels, odds / odds.sum(axis=1, keepdims=True)


BALANCED = report(*predictions([12] * 7))
ONE_CLASS = report(*predictions([0, 5, 0, 0, 0, 0, 0]))
BIG = report(*predictions([4000, 741, 1600, 9185, 4078, 1602, 6080]))


def render(figure):
    """Draw the figure as it is saved and return its size in pixels."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return Image.open(stream).size


def boxes(texts, figure):
    return [text.get_window_extent(FigureCanvasAgg(figure).get_renderer()) for text in texts if text.get_text()]


def overlaps(texts, figure):
    found = boxes(texts, figure)
    return [(a, b) for i, a in enumerate(found) for b in found[i + 1 :] if a.overlaps(b)]


def words(texts):
    return [text.get_text() for text in texts]


@pytest.mark.parametrize("result", [BALANCED, ONE_CLASS, BIG])
def test_confusion_cells_hold_counts_and_shares_of_the_true_class(result):
    axes = figures.confusion_figure(result, "any").axes[0]
    cells = {(round(y), round(x)): text.get_text() for text in axes.texts for x, y in [text.get_position()]}
    assert len(cells) == 49
    for (true, answer), count in np.ndenumerate(result.confusion):
        total = result.confusion[true].sum()
        assert cells[true, answer] == (f"{count}\n{count / total:.0%}" if total else "-")
    colours = axes.images[0].get_array()
    assert colours.shape == (7, 7)
    for true, name in enumerate(EXPRESSIONS):
        if result.support[name]:
            assert colours[true].sum() == pytest.approx(1)
        else:
            assert colours.mask[true].all()


def test_confusion_axes_name_expressions_and_support():
    axes = figures.confusion_figure(ONE_CLASS, "any").axes[0]
    assert words(axes.get_xticklabels()) == list(EXPRESSIONS)
    assert words(axes.get_yticklabels())[:2] == ["surprise (0)", "fear (5)"]
    assert axes.get_xlabel() == "predicted expression"
    assert axes.get_ylabel().startswith("true expression")
    assert f"accuracy {ONE_CLASS.accuracy:.1%}" in axes.get_title()


@pytest.mark.parametrize("result", [BALANCED, ONE_CLASS, BIG])
def test_no_label_of_the_confusion_figure_touches_another(result):
    figure = figures.confusion_figure(result, LONG)
    assert render(figure)[0] == 800
    axes = figure.axes[0]
    assert not overlaps(axes.texts, figure)
    assert not overlaps([*axes.get_yticklabels(), axes.yaxis.label, *axes.texts], figure)
    assert not overlaps([figure._suptitle, axes.title, *axes.texts], figure)


@pytest.mark.parametrize("result", [BALANCED, ONE_CLASS, BIG])
def test_reliability_bars_are_the_bins(result):
    figure = figures.reliability_figure(result, LONG)
    upper, lower = figure.axes
    filled = [b for b in result.bins if b.count]
    accuracy, gaps, counts = *upper.containers, lower.containers[0]
    assert [bar.get_height() for bar in accuracy] == pytest.approx([b.accuracy for b in filled])
    assert [bar.get_y() + bar.get_height() for bar in gaps] == pytest.approx([b.confidence for b in filled])
    assert [bar.get_height() for bar in counts] == [b.count for b in filled]
    assert [bar.get_x() for bar in counts] == pytest.approx([b.low for b in filled])
    assert words(lower.texts) == [str(b.count) for b in filled]
    assert f"expected calibration error {result.ece:.3f}" in upper.get_title()
    assert words(upper.get_legend().get_texts()) == ["perfect calibration", "accuracy", "gap to mean confidence"]
    assert render(figure)[0] == 800
    assert not overlaps([*lower.texts, lower.xaxis.label, lower.yaxis.label], figure)
    assert not overlaps([figure._suptitle, upper.title, *upper.get_legend().get_texts()], figure)


def test_reliability_states_the_error_before_temperature_scaling_where_there_was_one():
    figure = figures.reliability_figure(BALANCED, LONG, 0.0844)
    upper = figure.axes[0]
    ending = f"expected calibration error {BALANCED.ece:.3f} (0.084 before temperature scaling)"
    assert upper.get_title().endswith(ending)
    width, _ = render(figure)
    (box,) = boxes([upper.title], figure)
    assert 0 <= box.x0 < box.x1 <= width
    assert "scaling" not in figures.reliability_figure(BALANCED, LONG).axes[0].get_title()


def test_one_image_is_counted_in_whole_numbers():
    lower = figures.reliability_figure(report([1], np.eye(7)[[1]]), "any").axes[1]
    assert all(tick == round(tick) for tick in lower.get_yticks())


def test_long_titles_wrap_inside_the_figure_and_are_not_mathematics():
    figure = figures.reliability_figure(BALANCED, LONG)
    width, height = render(figure)
    shown = figure._suptitle.get_text()
    assert shown.replace("\n", " ") == LONG
    assert shown.count("\n") >= 1
    box = boxes([figure._suptitle], figure)[0]
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height
    assert not figure._suptitle.get_parse_math()


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


def solid(mode, size, colour):
    return Image.new(mode, size, colour)


def test_contact_sheet_puts_each_picture_in_the_row_of_its_expression():
    red, grey = solid("RGB", (224, 224), (255, 0, 0)), solid("L", (30, 60), 90)
    glass, palette = solid("RGBA", (64, 32), (0, 0, 255, 0)), solid("RGB", (48, 48), (0, 255, 0)).convert("P")
    figure = figures.contact_sheet({"fear": [red, grey], "anger": [glass, palette], "neutral": []}, LONG, thumb=40)
    axes = figure.axes[0]
    sheet = np.asarray(axes.images[0].get_array())
    assert sheet.shape == (120, 80, 3)
    centres = sheet[20::40, 20::40].tolist()
    white = [255, 255, 255]
    assert centres == [[[255, 0, 0], [90, 90, 90]], [white, [0, 255, 0]], [white, white]]
    # The tall picture keeps its shape: 18 by 36 pixels in the middle of its square.
    assert int((sheet[:40, 40:] == 90).all(axis=2).sum()) == 18 * 36
    assert words(axes.get_yticklabels()) == ["fear (2)", "anger (2)", "neutral (none)"]
    assert axes.get_yticks().tolist() == [20, 60, 100]


def test_contact_sheet_of_84_pictures_is_readable():
    pictures = {name: [solid("RGB", (64, 80), (40 * row, 0, 0))] * 12 for row, name in enumerate(EXPRESSIONS)}
    figure = figures.contact_sheet(pictures, LONG)
    width, height = render(figure)
    assert 800 <= width <= 1000
    axes = figure.axes[0]
    drawn = axes.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert drawn.width == pytest.approx(12 * 64, rel=0.1)
    assert not overlaps([*axes.get_yticklabels(), figure._suptitle], figure)
    assert all(box.x0 >= 0 and box.y1 <= height for box in boxes(axes.get_yticklabels(), figure))


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
