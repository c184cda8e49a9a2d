"""Settings of MLflow's requests to a server, which it reads from the environment at each of them."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

SOON = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"}
"""Three attempts more, after 1, 2 and 4 seconds."""
ONCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
_lock = threading.RLock()


@contextmanager
def answering_soon() -> Iterator[None]:
    """Have MLflow give up on a server within some seconds: at the beginning nobody wants to wait for minutes."""
    with _set(SOON):
        yield


@contextmanager
def sent_once() -> Iterator[None]:
    """Have requests that make something sent once.

    MLflow repeats what was not answered, and a server whose answer was lost would make a second one. Whoever asks
    looks for the first one instead.
    """
    with _set(ONCE):
        yield


@contextmanager
def _set(values: Mapping[str, str]) -> Iterator[None]:
    # One thread at a time: each has to put back what it found.
    with _lock:
        before = {name: os.environ.get(name) for name in values}
        os.environ.update(values)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
