"""What a store's fault means: whether it passes, and the sentence with its cure."""

import errno
import sqlite3

import pytest
import requests
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    PERMISSION_DENIED,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
    UNAUTHENTICATED,
)

from fer.errors import ModelError
from fer.tracking.faults import fault_of, ignoring_refusals

ADDRESS = "https://user:secret@mlflow.example.org"


def http_error(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} of the server", response=response)


class StorageError(Exception):
    """As boto3 raises it, which need not be installed."""

    def __init__(self, status: int) -> None:
        super().__init__("AccessDenied")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MlflowException("no", error_code=UNAUTHENTICATED), "MLFLOW_TRACKING_USERNAME"),
        (http_error(401), "MLFLOW_TRACKING_PASSWORD"),
        (MlflowException("no", error_code=PERMISSION_DENIED), "ask its owner for the right to edit"),
        (RestException({"error_code": "PERMISSION_DENIED", "message": "no"}), "ask its owner"),
        (http_error(403), "ask its owner"),
        (StorageError(403), "ask its owner"),
        (MlflowException("bad value", error_code=INVALID_PARAMETER_VALUE), "does not take the run: bad value"),
        (MlflowException("gone", error_code=RESOURCE_DOES_NOT_EXIST), "does not take the run: gone"),
        (ModuleNotFoundError("No module named 'boto3'", name="boto3"), "need the package boto3: install it, or let"),
        (ModelError("there is no such run"), "^there is no such run$"),
    ],
    ids=repr,
)
def test_what_a_store_refuses_for_good_is_said_with_its_cure(error: Exception, words: str) -> None:
    fault = fault_of(ADDRESS, error)
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(fault.sentence)
    assert not fault.passes
    assert "secret" not in fault.sentence
    assert "\n" not in fault.sentence
    with ignoring_refusals():
        raise (
            error
            if isinstance(error, MlflowException | OSError)
            else MlflowException("x", error_code=PERMISSION_DENIED)
        )


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("later", error_code=TEMPORARILY_UNAVAILABLE),
        MlflowException("API request failed with exception Connection refused"),
        requests.ConnectionError("Connection refused"),
        requests.Timeout("no answer"),
        http_error(500),
        http_error(503),
        http_error(429),
        StorageError(503),
        OSError(errno.ENOSPC, "No space left on device"),
        MlflowException("(sqlite3.OperationalError) database or disk is full"),
    ],
    ids=repr,
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    fault = fault_of(ADDRESS, error)
    assert fault.passes
    assert not fault.of_rights
    assert "secret" not in fault.sentence
    if isinstance(error, MlflowException | OSError):
        with pytest.raises(type(error)), ignoring_refusals():
            raise error


def test_a_full_disk_of_the_store_is_said_so() -> None:
    error = MlflowException(str(sqlite3.OperationalError("database or disk is full")))
    assert fault_of("sqlite:///mlflow.db", error).sentence.endswith("free some on its disk")
