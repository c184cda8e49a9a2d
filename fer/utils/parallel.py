"""Work on all cores in threads: Pillow and hashing release the GIL."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 32
"""Items a task, so that starting one costs little beside the work on small pictures."""
CHUNKS_AHEAD = 4
"""Tasks a core that are begun or wait: more would keep results that nobody has asked for."""


@contextmanager
def thread_pool() -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of as many threads as there are cores."""
    executor = ThreadPoolExecutor(os.cpu_count())
    try:
        yield executor
    finally:
        # The executor's own end would first finish, after a fault or Ctrl-C too, what has not begun.
        executor.shutdown(cancel_futures=True)


@contextmanager
def map_on_all_cores(
    work: Callable[[Sequence[T]], Sequence[R]],
    items: Sequence[T],
    chunk: int = CHUNK,
) -> Iterator[Iterator[R]]:
    """Yield an iterator over the results of a work on all items, in their order; at its end no thread works any more.

    Args:
        work: Gets some neighbouring items and returns the result of each.
        items: All of them; of few items each core gets its share.
        chunk: Items that work gets at once at most.
    """
    cores = os.cpu_count() or 1
    size = min(max(len(items) // (CHUNKS_AHEAD * cores), 1), chunk)
    with thread_pool() as executor:

        def results() -> Iterator[R]:
            # A future for each of a million pictures would take more time and memory than their names.
            begun: deque[Future[Sequence[R]]] = deque()
            for start in range(0, len(items), size):
                begun.append(executor.submit(work, items[start : start + size]))
                if len(begun) == CHUNKS_AHEAD * cores:
                    yield from begun.popleft().result()
            while begun:
                yield from begun.popleft().result()

        yield results()
