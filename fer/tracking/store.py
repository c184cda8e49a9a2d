"""Connect to the MLflow server or database, search its runs, and give the addresses of its pages."""

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import mlflow
from filelock import FileLock
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from fer.errors import DataError, FerError, ModelError, shortened, without_login
from fer.portable.json_files import parse_json
from fer.tracking.faults import fault_of
from fer.tracking.request_settings import answering_soon
from fer.utils.processes import call_patiently

T = TypeVar("T")

SQLITE = "sqlite:///"
MIGRATIONS = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
"""MLflow's migrations of databases, each in a file that begins with its name."""
CREATING = "creating"
"""Purpose of the lock under which databases and experiments are created."""
NOISY_LOGGERS = ("alembic", "mlflow.store.db.utils", "mlflow.system_metrics", "mlflow.pyfunc")
SOON_SECONDS = 11.0
"""How long a server is looked for."""
ABSENT = ": start it, or give the right address as MLFLOW_TRACKING_URI; trainings run without it with `offline=true`"
MAX_RUNS = 1_000_000
"""More than any store holds."""


def connect() -> str:
    """Point MLflow at its store, creating it if need be, and return the store's absolute address.

    The address is `$MLFLOW_TRACKING_URI`, which `mlflow run` sets too, else `mlflow.db` in the current folder.

    Raises:
        FerError: The store cannot be opened or reached.
    """
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    address = absolute(mlflow.get_tracking_uri())
    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)
    # Two processes that create one database would collide in its migrations.
    with locked(address, CREATING), _one_sentence(address), answering_soon():
        limit = SOON_SECONDS if address.startswith("http") else float("inf")
        call_patiently(lambda: mlflow.MlflowClient().search_experiments(max_results=1), limit=limit)
    return address


def experiment_id(address: str) -> str:
    """Return the id of the experiment of new runs, creating it if need be.

    It is where MLflow itself would put a run: the one that `$MLFLOW_EXPERIMENT_ID` or `$MLFLOW_EXPERIMENT_NAME` says,
    else `Default`. The runs that `mlflow run` makes stand in the same one so, and all runs in one table.
    """
    given = os.environ.get("MLFLOW_EXPERIMENT_ID")
    if given:
        return given
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or Experiment.DEFAULT_EXPERIMENT_NAME
    # MLflow's `set_experiment` does the same, but for the whole process, and then refuses runs of other experiments.
    client = mlflow.MlflowClient()
    with locked(address, CREATING), _one_sentence(address):
        experiment = client.get_experiment_by_name(name)
        if experiment:
            return str(experiment.experiment_id)
        try:
            return client.create_experiment(name)
        except MlflowException:
            # Another machine has made it at this moment, or this one by a request whose answer was lost.
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
            return str(experiment.experiment_id)


def search_runs(filter_string: str, experiment_ids: Sequence[str] = (), limit: int = 0) -> list[Run]:
    """Search runs, the latest first.

    Args:
        filter_string: In MLflow's language; empty for all runs.
        experiment_ids: Experiments to search; none for all.
        limit: Return so many runs at most; 0 for all.
    """
    # Unlike the client's search, this one goes through all pages.
    runs: list[Run] = mlflow.search_runs(
        list(experiment_ids) or None,
        filter_string,
        max_results=limit or MAX_RUNS,
        order_by=["attributes.start_time DESC"],
        output_format="list",
        search_all_experiments=not experiment_ids,
    )
    return runs


def get_run(run_id: str) -> Run:
    """Return a run as it stands in the store."""
    return mlflow.MlflowClient().get_run(run_id)


def find_run(run_id: str) -> Run:
    """Return a run by an id that a person gave.

    Raises:
        ModelError: There is none.
    """
    try:
        return get_run(run_id)
    except MlflowException as error:
        raise ModelError(f"there is no run {run_id}: {shortened(str(error), 160)}") from None


def is_run(run_id: str) -> bool:
    """Return whether the store has a run that nobody has deleted."""
    with suppress(MlflowException):
        return bool(get_run(run_id).info.lifecycle_stage == "active")
    return False


def read_artifact(run_id: str, path: str) -> str | None:
    """Return a text that a run has logged; None for a run that never got so far, or one whose files were removed.

    Raises:
        DataError: It is no UTF-8 text.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path, dst_path=folder)
            return Path(file).read_text(encoding="utf-8")
    except (MlflowException, OSError):
        return None
    except UnicodeDecodeError:
        raise _damaged(run_id, path, "it is no UTF-8 text") from None


def read_json_artifact(run_id: str, path: str, kind: type[T]) -> T | None:
    """Return the content of a JSON file that a run has logged; None as of `read_artifact`.

    Args:
        run_id: The run.
        path: The artifact.
        kind: What the file holds.

    Raises:
        DataError: It is no JSON, or holds something else.
    """
    text = read_artifact(run_id, path)
    if text is None:
        return None
    try:
        content = parse_json(text)
    except ValueError as error:
        raise _damaged(run_id, path, str(error)) from None
    if not isinstance(content, kind):
        raise _damaged(run_id, path, f"it holds no {kind.__name__}")
    return content


def fetch_file(run_id: str, path: str, folder: Path) -> Path:
    """Download one artifact of a run into a folder, where it keeps its artifact path.

    Raises:
        ModelError: The run or the artifact does not exist.
    """
    connect()
    try:
        file = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path, dst_path=str(folder))
    except (MlflowException, OSError) as error:
        raise ModelError(f"run {run_id} has no {path}: {shortened(str(error), 160)}") from None
    return Path(file)


def _damaged(run_id: str, path: str, reason: str) -> DataError:
    return DataError(f"{path} of run {run_id} is damaged: {reason}")


@contextmanager
def locked(address: str, purpose: str) -> Iterator[None]:
    """Let one of a user's processes on this machine at a time do something in a store.

    Args:
        address: The store.
        purpose: What is done; other purposes do not wait for it.
    """
    # Each user's own, as no other one's file can be opened in that folder.
    user = getattr(os, "getuid", int)()
    key = hashlib.sha256(address.encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"fer-store-{user}-{key}-{purpose}.lock"):
        yield


@contextmanager
def _one_sentence(address: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Not at the top: whoever uses a server needs none of its packages for databases.
        from alembic.util import CommandError

        if isinstance(error, MlflowException | CommandError | TimeoutError):
            raise FerError(why_unusable(address, error)) from None
        raise


def why_unusable(address: str, error: Exception) -> str:
    """Return why a store cannot be used, and the cure, as one sentence."""
    # MLflow tells of every database of another version to run `mlflow db upgrade`, which cannot help where the database
    # is the newer one. Its migrations bear names, and those of later versions are unknown here.
    reason = " ".join(str(error).split())
    fault = fault_of(address, error)
    if fault.of_rights:
        return fault.sentence
    address = without_login(address)
    named = re.search(r"found version (\w+)|revision identified by '(\w+)'", reason)
    if named is None:
        return f"the MLflow store {address} does not answer ({_briefly(reason)}){ABSENT * address.startswith('http')}"
    revision = named[1] or named[2]
    # None stands in databases from before schemas had names.
    if revision == "None" or any(MIGRATIONS.glob(f"{revision}_*.py")):
        age = f"was made by an older MLflow than {mlflow.__version__}"
        cure = f"keep a copy of it and run `mlflow db upgrade {address}`"
    else:
        age = f"was made or changed by a newer MLflow than {mlflow.__version__} (its schema is {revision})"
        cure = "use that MLflow, or another store with MLFLOW_TRACKING_URI=sqlite:///<new file>"
    return f"the MLflow store {address} {age}: {cure}"


def _briefly(reason: str) -> str:
    """Return the part of what is said on a connection that says why; other reasons in part."""
    known = re.search(r"Connection refused|Name or service not known|timed out|No route to host", reason)
    return known[0] if known else shortened(reason, 200)


def absolute(address: str) -> str:
    """Return a store's address with a relative SQLite path made absolute; it would open another file elsewhere."""
    if not address.startswith(SQLITE) or address.startswith(SQLITE + "/"):
        return address
    return SQLITE + str(Path(address.removeprefix(SQLITE)).resolve())
