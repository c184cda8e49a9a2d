"""Trainings that are killed at random moments, and the record they leave."""

import itertools
import pprint
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.reliability.chaos import WORDS, Chaos, Place, Undisturbed, command_of
from tests.reliability.records import differing

pytestmark = pytest.mark.project


def check(kills: int, name: str, make_place: Callable[[str], Place], undisturbed: Undisturbed, seed: int) -> None:
    """Kill trainings so often, and compare the record of each that has ended in spite of that."""
    expected, seconds = undisturbed.record(name), undisturbed.seconds(name)
    rng = random.Random(seed)
    fell: Counter[str] = Counter()
    began = time.monotonic()
    # Numbered by themselves: in a round nobody may be killed, and a folder that is filled twice is no empty store.
    rounds = itertools.count()
    while fell.total() < kills:
        chaos = Chaos(make_place(f"round-{next(rounds)}"), WORDS[name], rng, seconds)
        chaos.run(kills - fell.total())
        fell += chaos.fell
        differences = differing(chaos.place.record(command_of(name)), expected)
        assert differences == {}, pprint.pformat(differences)
    spent = f"{time.monotonic() - began:.0f} s; undisturbed {seconds:.1f} s"
    print(f"{name}: {fell.total()} kills: {dict(fell)}; {spent}")


def test_a_fine_tuning_killed_five_times_leaves_the_record_of_an_undisturbed_one(make_place, undisturbed):
    check(5, "finetune", make_place, undisturbed, seed=15)


@pytest.mark.slow
@pytest.mark.parametrize("name", WORDS)
def test_a_training_killed_twenty_times_leaves_the_record_of_an_undisturbed_one(make_place, undisturbed, name):
    check(20, name, make_place, undisturbed, seed=16)
