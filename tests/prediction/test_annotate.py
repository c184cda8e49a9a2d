from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from fer.expressions import EXPRESSIONS
from fer.prediction.annotate import (
    BLACK,
    BLUE,
    CARD_HEIGHT,
    CROP_SIDE,
    LINE_HEIGHT,
    MARGIN,
    MAX_CARDS,
    MAX_SIDE,
    MIN_SIDE,
    ORANGE,
    YELLOW,
    annotate_picture,
    draw_boxes,
    overlay_saliency,
)

GREY = (120, 120, 120)


@dataclass
class Face:
    box: tuple[float, float, float, float]
    expression: str = "happiness"
    crop: np.ndarray = field(default_factory=lambda: np.full((32, 32, 3), 90, np.uint8))
    share: float = 0.5

    @property
    def probabilities(self) -> dict[str, float]:
        rest = (1 - self.share) / 6
        return {name: self.share if name == self.expression else rest for name in EXPRESSIONS}


def picture(*size: int) -> Image.Image:
    return Image.new("RGB", size, GREY)


def near(image: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a picture has (nearly) this colour."""
    return np.abs(np.asarray(image).astype(int) - colour).max(axis=2) < 12


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


@pytest.mark.parametrize("size", [(1, 1), (48, 48), (30, 900), (4000, 12), (640, 480), (5000, 3000)])
def test_a_picture_of_any_size_is_shown_readably_large(size: tuple[int, int]) -> None:
    width, height = size
    shown = draw_boxes(picture(*size), [Face((0.2 * width, 0.2 * height, 0.7 * width, 0.8 * height))])
    assert MIN_SIDE <= max(shown.size) <= MAX_SIDE
    sheet = annotate_picture(picture(*size), [Face((0, 0, width, height))])
    assert sheet.size == (max(shown.width, MIN_SIDE), shown.height + CARD_HEIGHT)


def test_the_box_stands_where_the_face_is_at_the_size_shown() -> None:
    shown = draw_boxes(picture(320, 160), [Face((100, 60, 200, 140))])
    assert shown.size == (640, 320)
    left, _, right, bottom = extent(near(shown, YELLOW))
    assert (left, right, bottom) == pytest.approx((200, 400, 280), abs=4)
    inside = np.asarray(shown)[140:270, 215:385].reshape(-1, 3)
    assert (inside == GREY).all(), "nothing covers the face"


@pytest.mark.parametrize(
    "box", [(-50, -40, 60, 70), (260, 120, 400, 300), (-100, -100, 900, 900), (310, 0, 900, 40), (0, 500, 20, 600)]
)
def test_faces_beyond_the_edge_are_marked_inside_the_picture(box: tuple[float, float, float, float]) -> None:
    shown = draw_boxes(picture(320, 160), [Face(box)])
    assert near(shown, YELLOW).sum() > 100
    assert near(shown, BLACK).sum() > 20, "its label with the words is there"


def test_labels_of_neighbours_do_not_cover_each_other_nor_another_face() -> None:
    faces = [Face((200 + 70 * n, 200, 260 + 70 * n, 280)) for n in range(4)]
    alone = [near(draw_boxes(picture(640, 640), [face]), YELLOW).sum() for face in faces]
    shown = draw_boxes(picture(640, 640), faces)
    for face in faces:
        left, top, right, bottom = (round(value) for value in face.box)
        middle = np.asarray(shown)[top + 30 : bottom - 30, left + 8 : right - 8].reshape(-1, 3)
        assert (middle == GREY).all()
    assert near(shown, YELLOW).sum() < sum(alone), "where words do not fit, the number stands alone"


def test_a_small_face_by_itself_is_named_in_words() -> None:
    left, _, right, _ = extent(near(draw_boxes(picture(640, 640), [Face((200, 200, 260, 280))]), YELLOW))
    assert right - left > 100, "wider than its box"


def test_each_face_has_a_card_with_a_bar_for_each_probability() -> None:
    sheet = annotate_picture(picture(640, 480), [Face((10, 10, 50, 50), share=0.9)])
    card = sheet.crop((0, 480, 640, 480 + CARD_HEIGHT))
    assert (np.asarray(card)[MARGIN : MARGIN + CROP_SIDE, MARGIN : MARGIN + CROP_SIDE] == 90).all(), "the crop"
    lengths = {}
    for row, name in enumerate(EXPRESSIONS, start=1):
        middle = MARGIN + row * LINE_HEIGHT + LINE_HEIGHT // 2
        lengths[name] = int(near(card.crop((0, middle, 640, middle + 1)), BLUE).sum())
    longest = lengths.pop("happiness")
    assert all(length / longest == pytest.approx(0.1 / 6 / 0.9, abs=0.02) for length in lengths.values())


def test_many_faces_all_have_boxes_and_the_first_have_cards() -> None:
    faces = [Face((20 * n % 600, 30 * (n // 30), 20 * n % 600 + 12, 30 * (n // 30) + 12)) for n in range(MAX_CARDS + 6)]
    sheet = annotate_picture(picture(640, 480), faces)
    assert sheet.height == 480 + MAX_CARDS * CARD_HEIGHT + LINE_HEIGHT + 2 * MARGIN
    assert (
        annotate_picture(picture(1600, 480), faces).height
        == 480 + MAX_CARDS // 3 * CARD_HEIGHT + LINE_HEIGHT + 2 * MARGIN
    )
    assert all(near(sheet.crop(tuple(map(int, face.box))), YELLOW).any() for face in faces)


def test_a_picture_without_faces_says_so_below() -> None:
    sheet = annotate_picture(picture(640, 480), [])
    assert sheet.size == (640, 480 + LINE_HEIGHT + 2 * MARGIN)
    assert np.asarray(sheet.crop((0, 480, 640, sheet.height))).min() < 100, "words"


def test_the_overlay_is_orange_where_the_map_is_high_and_the_grey_face_elsewhere() -> None:
    crop = np.full((32, 32, 3), (200, 60, 60), np.uint8)
    saliency = np.zeros((32, 32), np.float32)
    saliency[:8, :8] = 1
    shown = np.asarray(overlay_saliency(crop, saliency, 128)).astype(int)
    assert shown.shape == (128, 128, 3)
    assert (np.ptp(shown[64:, 64:], axis=2) == 0).all()
    assert np.abs(shown[8, 8] - (0.8 * np.array(ORANGE) + 0.2 * shown[100, 100])).max() < 4


def test_maps_stand_on_the_cards_of_the_first_faces() -> None:
    faces = [Face((10, 10, 50, 50)), Face((60, 10, 90, 50))]
    sheet = annotate_picture(picture(640, 480), faces, [np.ones((32, 32), np.float32)])
    red, _, blue = np.moveaxis(np.asarray(sheet)[480:].astype(int), 2, 0)
    tinted = red - blue > 80
    assert tinted[:CARD_HEIGHT].sum() > 0.9 * CROP_SIDE**2
    assert not tinted[CARD_HEIGHT:].any()
