import io

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


@pytest.mark.parametrize("result", [BALANCED, ONE_CLASS])
def test_the_small_confusion_figure_can_be_read_at_256_pixels(result):
    figure = figures.small_confusion_figure(result)
    assert render(figure) == (400, 400)
    (axes,) = figure.axes
    cells = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    for (true, answer), count in np.ndenumerate(result.confusion):
        total = result.confusion[true].sum()
        assert cells[true, answer] == (f"{100 * count / total:.0f}" if total else "-")
    assert not overlaps([*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()], figure)
    # At 0.64 of their size the letters still are as high as those of small print.
    assert min(box.height for box in boxes(axes.texts, figure) if box.height > 5) * 256 / 400 > 8


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
