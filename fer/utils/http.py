"""Ask servers again after faults that pass."""

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
"""Status codes of faults that pass."""


def retrying_session(agent: str = "fer", retries: int = 4, backoff: float = 1.0) -> requests.Session:
    """Return a session that repeats reading requests after faults that pass, and keeps cookies.

    A server's `Retry-After` is waited for. After the last attempt the server's answer is returned as it is.

    Args:
        agent: The `User-Agent`.
        retries: Further attempts at most.
        backoff: Seconds before the second repetition; each pause is twice the one before.
    """
    retry = Retry(
        total=retries,
        backoff_factor=backoff,
        status_forcelist=TEMPORARY,
        allowed_methods=("GET", "HEAD"),
        respect_retry_after_header=True,
        raise_on_status=False,
    )
    session = requests.Session()
    session.headers["User-Agent"] = agent
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session
