from collections import Counter

import pytest

from fer.data.splits import held_out_groups, held_out_names, validation_names
from fer.expressions import EXPRESSIONS

LABELLED = [
    (f"{expression}_{number}.jpg", expression)
    for expression, count in zip(EXPRESSIONS, (200, 101, 54, 10, 2, 1, 0), strict=True)
    for number in range(count)
]


def test_validation_takes_a_tenth_of_every_class() -> None:
    chosen = validation_names(LABELLED)
    assert chosen <= {name for name, _ in LABELLED}
    counts = Counter(expression for name, expression in LABELLED if name in chosen)
    assert counts == {"surprise": 20, "fear": 10, "disgust": 5, "happiness": 1, "sadness": 1}


def test_validation_does_not_depend_on_order() -> None:
    assert validation_names(LABELLED[::-1]) == validation_names(LABELLED)


def test_validation_hardly_changes_when_a_name_leaves() -> None:
    whole = validation_names(LABELLED)
    for gone in range(0, 200, 7):
        fewer = validation_names(LABELLED[:gone] + LABELLED[gone + 1 :])
        assert len(whole ^ fewer) <= 2


def test_validation_does_not_follow_the_numbering() -> None:
    numbers = sorted(int(name.split("_")[1][:-4]) for name in validation_names(LABELLED) if name.startswith("surp"))
    assert numbers[0] < 100 <= numbers[-1]
    assert numbers != list(range(numbers[0], numbers[0] + 20))


def test_what_is_held_out_for_testing_is_chosen_independently_of_validation() -> None:
    tested = held_out_names(LABELLED, 0.1, "test")
    validated = validation_names(LABELLED)
    # Of the 37 that each holds, chance gives about a tenth to both.
    assert 0 < len(tested & validated) < len(tested) / 2


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_whole_people_are_held_out_until_the_fraction_is_reached(fraction: float) -> None:
    pictures = [f"person {number % 23}" for number in range(400)]
    chosen = held_out_groups(pictures, fraction, "test")
    held = sum(person in chosen for person in pictures)
    # At most the last person stands above it.
    assert fraction * 400 <= held < fraction * 400 + 18
    assert held_out_groups(pictures[::-1], fraction, "test") == chosen


def test_of_several_people_one_is_always_left_for_training() -> None:
    assert len(held_out_groups(["a", "b"], 0.9, "test")) == 1
    assert held_out_groups(["a"], 0.5, "test") == set()
    assert held_out_groups([], 0.5, "test") == set()
