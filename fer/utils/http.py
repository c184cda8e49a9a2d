"""Ask servers again after faults that pass, and wait as long as they ask."""

import sys
import time

import requests
from requests.adapters import HTTPAdapter
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
"""Status codes of faults that pass."""
RETRIES = 4
BACKOFF = 1.0
"""Seconds before a download that broke off goes on, and of which pauses after faults are multiples: none, 2, 4, 8."""
MAX_WAIT = 120.0
"""Seconds of a `Retry-After` that are waited; a server that asks for more is left alone."""
TIMEOUT = 30.0
"""Seconds without a byte before an attempt is given up."""
CONNECT_TIMEOUT = 10.0
"""Seconds that a server has to take up a connection, in which it does nothing else."""


class PoliteRetry(Retry):
    """Wait as long as the server asks, say so on stderr, and give up where that is too long."""

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        """Wait before the next attempt.

        Raises:
            requests.ConnectionError: The server asks for more than `MAX_WAIT`.
        """
        asked = self.get_retry_after(response) if response else None
        reason = f"status {response.status}" if response else "no connection"
        wait(asked or self.get_backoff_time(), reason)


def wait(seconds: float, reason: str) -> None:
    """Wait, having said on stderr why and how long, so that nobody takes the program for dead.

    Raises:
        requests.ConnectionError: It would take longer than `MAX_WAIT`.
    """
    if seconds > MAX_WAIT:
        raise requests.ConnectionError(f"{reason}, and it asks to wait {seconds:.0f} seconds")
    if seconds > 0:
        print(f"waiting {seconds:.0f} s for the server: {reason}", file=sys.stderr, flush=True)
        time.sleep(seconds)


def retrying_session(agent: str = "fer", *, insists: bool = True) -> requests.Session:
    """Return a session that repeats reading requests after faults that pass, and keeps cookies.

    A server's `Retry-After` is waited for. After the last attempt the server's answer is returned as it is.

    Args:
        agent: The `User-Agent`.
        insists: Whether a server that takes up no connection is asked again too.
    """
    retry = PoliteRetry(
        total=RETRIES,
        connect=RETRIES if insists else 0,
        backoff_factor=BACKOFF,
        status_forcelist=TEMPORARY,
        allowed_methods=("GET", "HEAD"),
        raise_on_status=False,
    )
    session = requests.Session()
    session.headers["User-Agent"] = agent
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def status_of(error: BaseException) -> int | None:
    """Return the status with which a server answered a request, where that is what an error says."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code
    return None
