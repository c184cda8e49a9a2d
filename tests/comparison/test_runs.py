import random

import numpy as np
import pytest

from fer.comparison.runs import align, read_predictions
from fer.errors import DataError
from fer.expressions import EXPRESSIONS
from tests.comparison.made import predictions

TRUTH = np.array([0, 1, 2, 3, 4, 5, 6, 0])


def read(text):
    return read_predictions(text, "predictions.csv")


def test_images_are_joined_by_what_they_are_whatever_the_order_of_the_files():
    given = (TRUTH + 2) % 7
    head, *rows = predictions(TRUTH, given).splitlines()
    shuffled = read("\n".join([head, *rows[::-1]]))
    joined = align([read(predictions(TRUTH, TRUTH))], [shuffled])
    assert joined.labels.tolist() == joined.first[0].tolist() == TRUTH.tolist()
    assert joined.second[0].tolist() == given.tolist()
    assert joined.comparable


def test_an_image_of_other_bytes_or_another_expression_is_another_image():
    text = predictions(TRUTH, TRUTH)
    relabelled = text.replace(f"{2:064x},,,disgust", f"{2:064x},,,fear")
    changed = relabelled.replace(f"{5:064x}", "ab" * 32)
    joined = align([read(text)], [read(changed)])
    assert joined.labels.tolist() == [0, 1, 3, 4, 6, 0]
    assert (joined.fewest, joined.most) == (8, 8)
    assert not joined.comparable


def test_what_all_runs_of_both_sides_answered_is_compared():
    rows = predictions(TRUTH, TRUTH).splitlines()
    without = [read("\n".join(rows[:n] + rows[n + 1 :])) for n in (1, 3)]
    joined = align([read("\n".join(rows)), without[0]], [without[1]])
    assert joined.first.shape == (2, 6)
    assert joined.second.shape == (1, 6)


def test_a_part_that_is_the_smaller_set_whole_is_enough():
    rows = predictions(TRUTH, TRUTH).splitlines()
    assert align([read("\n".join(rows))], [read("\n".join(rows[:3]))]).comparable
    assert not align([read("\n".join(rows[:3]))], [read("\n".join([rows[0], *rows[4:]]))]).comparable


def test_persons_are_known_only_where_every_image_tells_them():
    everyone = read(predictions(TRUTH, TRUTH, persons=[f"F{n:02}" for n in range(8)]))
    some = read(predictions(TRUTH, TRUTH, persons=["F01", *[""] * 7]))
    assert align([everyone], [everyone]).persons == tuple(f"F{n:02}" for n in range(8))
    assert align([some], [some]).persons is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text.replace("sha256", "hash", 1), "no column 'sha256'"),
        (lambda text: text.replace(EXPRESSIONS[3], "joy", 2), "the expression 'joy'"),
        (lambda text: text.splitlines()[0] + "\n", "holds no image"),
        (lambda text: text + text.splitlines()[1] + "\n", "names an image twice"),
        (lambda text: "", "no column 'path'"),
        (lambda text: text.replace("test/raf/1/0.png", "x" * 200_000), r"is no table \(field larger than field limit"),
        (lambda text: text.replace("test/raf/1/0.png", '"test/raf/1/0.png'), "is no table"),
        (lambda text: text.replace("test/raf/1/0.png", "test/raf\r/1/0.png"), "a row that is not as long"),
        (lambda text: text + "test/raf/1/9.png,ab\n", "a row that is not as long as its head"),
        (lambda text: text.replace("\n", ",1,2\n").replace(",1,2", "", 1), "a row that is not as long as its head"),
        (lambda text: text.replace("surprise,surprise", f"{'x' * 5000},surprise"), f"the expression '{'x' * 90}"),
        (lambda text: text.replace("surprise,surprise", "\0,surprise"), "the expression"),
    ],
)
def test_a_damaged_file_is_named_with_its_fault(change, sentence):
    text = change(predictions(TRUTH, TRUTH))
    with pytest.raises(DataError, match=f"^predictions.csv .*{sentence}") as caught:
        read(text)
    assert len(str(caught.value)) < 500


def test_whatever_a_file_holds_it_is_read_or_refused_in_one_short_sentence():
    rng, whole, refused = random.Random(0), predictions(TRUTH, TRUTH, persons=["a", 'b"', "c,d", *"efghi"]), 0
    for _ in range(2000):
        text = whole
        for _ in range(rng.randint(1, 4)):
            place, other = sorted(rng.randrange(len(text)) for _ in range(2))
            sign = rng.choice([*'\0\r\n,"\ufeffé\ud800 ', text[place : place + 40], "", "x" * 140_000])
            text = text[:place] + sign + text[place if rng.random() < 0.7 else other :]
        try:
            read(text)
        except DataError as error:
            refused += 1
            assert len(str(error)) < 500
    assert refused > 500
