"""Trainings that a store refuses: one sentence with the cure, before anything is trained, and no run left."""

import importlib.util
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import stores
from tests.reliability.chaos import FINETUNE, Place
from tests.reliability.records import runs_of
from tests.tracking.servers import tracking_server

pytestmark = pytest.mark.project


@dataclass
class Guarded:
    """A tracking server that knows its users, and a place whose commands record there."""

    place: Place
    address: str
    admin: str

    def variables(self, user: str, password: str) -> dict[str, str]:
        return {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}

    def ask(self, method: str, path: str, version: str = "2.0", **content: Any) -> dict[str, Any]:
        answer = requests.request(
            method, f"{self.address}/api/{version}/mlflow/{path}", json=content, auth=("admin", self.admin), timeout=60
        )
        answer.raise_for_status()
        return answer.json()

    def runs(self) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self.ask("POST", "runs/search", experiment_ids=["0"]).get("runs", [])
        return runs


@pytest.fixture(scope="module")
def server(empty_store, tmp_path_factory) -> Iterator[tuple[str, str, Path]]:
    if importlib.util.find_spec("flask_wtf") is None:
        pytest.skip("mlflow's basic-auth needs the package flask-wtf")
    folder = tmp_path_factory.mktemp("guarded")
    stores.copy(empty_store, folder, "mlflow-artifacts:")
    config = folder / "auth.ini"
    admin = uuid.uuid4().hex
    options = {
        "default_permission": "READ",
        "database_uri": f"sqlite:///{folder}/users.db",
        "admin_username": "admin",
        "admin_password": admin,
        # Checking a password takes much of a second.
        "auth_cache_ttl_seconds": "600",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
    config.write_text("[mlflow]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
    variables = {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": uuid.uuid4().hex}
    with tracking_server(folder, "--app-name", "basic-auth", **variables) as address:
        yield address, admin, folder


@pytest.fixture
def guarded(server, make_place) -> Guarded:
    address, admin, _ = server
    place = make_place()
    place.environment["MLFLOW_TRACKING_URI"] = address
    return Guarded(place, address, admin)


def refused(guarded: Guarded, user: str, password: str) -> str:
    """Train as a user, and return the one sentence that it comes to."""
    program = guarded.place.start(FINETUNE, **guarded.variables(user, password))
    output = program.wait(code=2)
    (sentence,) = [line for line in output.splitlines() if line.startswith("fer: ")]
    assert output.strip().splitlines()[-1] == sentence
    assert "Traceback" not in output
    assert "epoch 1/" not in output
    assert password not in output
    assert not list(guarded.place.folder.glob("outputs*/*"))
    return sentence


def test_a_wrong_password_is_said_before_the_training(guarded):
    sentence = refused(guarded, "admin", "wrong-password-here")
    assert "does not know this user: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in sentence
    assert not guarded.runs()


def test_a_user_who_may_only_read_is_told_before_the_training(guarded):
    guarded.ask("POST", "users/create", username="reader", password="reader-password")
    sentence = refused(guarded, "reader", "reader-password")
    assert "does not let this user do that" in sentence
    assert sentence.endswith("ask its owner for the right to edit")
    assert not guarded.runs()


def test_a_user_who_may_not_register_loses_nothing(guarded):
    admin = guarded.variables("admin", guarded.admin)
    # The registered model is the administrator's.
    guarded.ask("POST", "registered-models/create", name="fer-chaos")
    guarded.ask("POST", "users/create", username="writer", password="writer-password")
    right = {"username": "writer", "resource_type": "experiment", "resource_id": "0", "permission": "EDIT"}
    guarded.ask("POST", "users/permissions/grant", version="3.0", **right)
    program = guarded.place.start(FINETUNE, **guarded.variables("writer", "writer-password"))
    output = program.wait()
    assert "Traceback" not in output
    (run,) = guarded.runs()
    assert run["info"]["status"] == "FINISHED"
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert "Permission denied" in tags["fer.unregistered"]
    assert "fer register" in tags["fer.unregistered"]
    run_id = run["info"]["run_id"]
    done = guarded.place.start(["register", "--model", f"runs:/{run_id}"], **admin).wait()
    assert "version 1" in done
    guarded.ask("POST", "runs/delete", run_id=run_id)


def test_artifacts_that_need_a_package_are_said_so_before_the_training(make_place):
    if importlib.util.find_spec("boto3") is not None:
        pytest.skip("boto3 is installed")
    place = make_place()
    name = "on S3"
    place.client.create_experiment(name, artifact_location="s3://a-bucket/of-ours")
    output = place.start(FINETUNE, MLFLOW_EXPERIMENT_NAME=name).wait(code=2)
    (sentence,) = [line for line in output.splitlines() if line.startswith("fer: ")]
    assert "need the package boto3: install it, or let the server pass artifacts on" in sentence
    assert "Traceback" not in output
    assert not runs_of(place.client)
    assert not list(place.folder.glob("outputs*/*"))
