"""Work on all cores in threads: Pillow and hashing release the GIL."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def all_cores() -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads; after a fault or an interruption, what has not begun is dropped, not finished first."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
