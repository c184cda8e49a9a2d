"""Work on all cores: results in order, few of them waiting, and an end after a fault."""

import os
import time
from collections.abc import Sequence

import pytest

from fer.utils.parallel import CHUNK, CHUNKS_AHEAD, map_on_all_cores

CORES = 16


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: CORES)


@pytest.mark.parametrize("count", [0, 1, 7, 300, 3000])
def test_results_come_in_the_order_of_the_items_from_tasks_of_few(count: int, many_cores: None) -> None:
    sizes: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        time.sleep(0.001 * (items[0] % 3))
        return [item**2 for item in items]

    with map_on_all_cores(work, range(count)) as results:
        assert list(results) == [item**2 for item in range(count)]
    assert max(sizes, default=0) <= CHUNK
    # Few items are shared out among all cores.
    assert len(sizes) >= min(count, CORES)


def test_few_results_wait_for_whoever_takes_them(many_cores: None) -> None:
    begun: list[int] = []
    with map_on_all_cores(lambda items: begun.extend(items) or items, range(100_000)) as results:
        assert next(results) == 0
        time.sleep(0.05)
        assert len(begun) <= CHUNK * CHUNKS_AHEAD * CORES


def test_a_fault_ends_what_has_not_begun(many_cores: None) -> None:
    done: list[int] = []

    def work(items: Sequence[int]) -> Sequence[int]:
        if items[0] == 0:
            raise KeyboardInterrupt
        time.sleep(0.001)
        done.extend(items)
        return items

    with pytest.raises(KeyboardInterrupt), map_on_all_cores(work, range(100_000)) as results:
        list(results)
    finished = len(done)
    time.sleep(0.02)
    assert finished == len(done) < 100_000 / 10
