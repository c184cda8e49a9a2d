"""Tell what a store's fault means: whether it passes, and the sentence that names its cure."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mlflow.exceptions import MlflowException

from fer.errors import FerError, shortened, without_login
from fer.utils.disk import is_no_space
from fer.utils.http import TEMPORARY, status_of

UNAUTHENTICATED, FORBIDDEN = 401, 403
NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError")
"""Of S3, whose package need not be installed."""


@dataclass(frozen=True)
class Fault:
    """Why a store did not do what it was asked.

    Attributes:
        sentence: For people: what is wrong, and the cure.
        passes: Whether the same request may succeed later by itself.
        of_rights: Whether the user is unknown to the store, or may not do it.
    """

    sentence: str
    passes: bool
    of_rights: bool = False


def fault_of(address: str, error: BaseException) -> Fault:
    """Return what a store's fault means.

    Args:
        address: The store.
        error: What a request to it, or to its artifacts, raised.
    """
    store = f"the MLflow store {without_login(address)}"
    if isinstance(error, FerError):
        return Fault(str(error), passes=False)
    missing = _missing_here(error)
    if missing:
        cure = "or let the server pass artifacts on (`mlflow server --serve-artifacts`)"
        return Fault(f"artifacts of {store} need {missing}, {cure}", passes=False)
    if is_no_space(error) or "disk is full" in str(error):
        return Fault(f"{store} has no space left ({shortened(str(error), 200)}): free some on its disk", passes=True)
    status = _status(error)
    reason = shortened(str(error), 300)
    if status == UNAUTHENTICATED:
        return Fault(
            f"{store} does not know this user: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
            passes=False,
            of_rights=True,
        )
    if status == FORBIDDEN:
        return Fault(
            f"{store} does not let this user do that ({reason}): ask its owner for the right to edit",
            passes=False,
            of_rights=True,
        )
    return Fault(f"{store} does not take the run: {reason}", passes=status in TEMPORARY)


def _missing_here(error: BaseException) -> str:
    """Return what this machine lacks to reach a store of artifacts by itself, and the cure; empty for other faults."""
    if isinstance(error, ImportError):
        return f"the package {error.name or error}: install it"
    if type(error).__name__ in NO_CREDENTIALS:
        cure = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return f"credentials of its storage ({shortened(str(error))}): {cure}"
    return ""


@contextmanager
def ignoring_refusals() -> Iterator[None]:
    """Go on where a store refuses for good what can be done without, or what was done before; raise what passes."""
    try:
        yield
    except (MlflowException, OSError) as error:
        if fault_of("", error).passes:
            raise


def _status(error: BaseException) -> int:
    """Return the HTTP status that a fault comes to; 503 for faults of the connection, 500 for unknown ones."""
    status = status_of(error)
    if status is not None:
        return status
    if isinstance(error, MlflowException):
        return int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    # Of S3, whose package need not be installed; what it raises for an upload tells the answer by its cause alone.
    for raised in (error, error.__cause__ or error.__context__):
        answer = getattr(raised, "response", None)
        if isinstance(answer, dict):
            return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
    return 503 if isinstance(error, OSError) else 500
