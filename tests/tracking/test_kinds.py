"""Whatever is delivered twice, as an answer that was lost makes it be, is recorded once."""

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, PERMISSION_DENIED

from fer.data.manifest import ImageRow, Manifest
from fer.errors import DataError
from fer.tracking.delivery import Delivery, NotYet
from fer.tracking.faults import fault_of
from fer.tracking.journal import Entry
from fer.tracking.kinds import KINDS, deliver
from fer.tracking.names import ACCURACY_VIEW, HEARTBEAT, REGISTERED, UNREGISTERED
from fer.tracking.opening import open_new
from fer.tracking.registry import Registration
from fer.tracking.runs import TrackedRun
from fer.tracking.spool import Spool
from fer.tracking.store import connect
from tests import stores
from tests.tracking.made import TAGS

NOTE = "mlflow.note.content"
SCORED = TAGS | {"score": "0.5"}
MANIFEST = Manifest(
    "wikimedia",
    (ImageRow("test/wikimedia/1/a.jpg", "surprise", "test", "", "", "", "ab" * 32, 10, 4, 5, "1/a.jpg", ""),),
)


@dataclass
class Recording:
    """A run whose outbox sends nothing by itself."""

    run: TrackedRun

    @property
    def spool(self) -> Spool:
        return self.run.outbox.spool

    def deliver(self, times: int = 2) -> list[Any]:
        """Deliver all that waits, each entry several times, and return what came of it in the end."""
        delivery = Delivery(self.spool, self.run.address, self.run.id, self.run.experiment_id)
        results = []
        for entry in self.spool.pending():
            results.append([deliver(delivery, entry) for _ in range(times)][-1])
            self.spool.mark_delivered([entry.number])
        return results

    def deliver_one(self, entry: Entry) -> Any:
        """Deliver an entry."""
        return deliver(Delivery(self.spool, self.run.address, self.run.id, self.run.experiment_id), entry)

    def deliver_all_again(self) -> None:
        """Deliver all from the beginning, as after a process that died before it could note what it had delivered."""
        delivery = Delivery(self.spool, self.run.address, self.run.id, self.run.experiment_id)
        for _ in range(2):
            for entry in self.spool.entries():
                deliver(delivery, entry)


@pytest.fixture
def recording(client, tmp_path) -> Iterator[Recording]:
    opened = open_new(connect(), "mine", "", tmp_path / "outputs", {})
    yield Recording(TrackedRun(opened.outbox))
    opened.outbox.spool.close()


def figure() -> Any:
    from matplotlib.figure import Figure

    drawn = Figure((1, 1))
    drawn.add_subplot().plot([0, 1])
    return drawn


def record_everything(run: TrackedRun, files: Path) -> None:
    """Record something of every kind."""
    run.outbox.put("begin")
    run.tags({"weights.loaded": "none"})
    run.params({"arch": "resnet18", "lr": 0.1})
    run.metrics({"loss": 0.5, "lr": 0.1}, 1)
    run.metrics({"loss": 0.25}, 2)
    run.text("a,b\n", "tables/a.csv")
    run.image(figure(), "confusion/wikimedia")
    handle = run.dataset(MANIFEST, Path("data"), "test")
    run.model(files, "a model", SCORED)
    run.model_metrics({"wikimedia/accuracy": 0.5}, run.model_id, handle)
    run.model_files({"README.md": f"# the card of {run.model_id}"})
    run.describe_model("what it is")
    run.describe(f"Its model is `{run.model_id}`.")
    run.views((ACCURACY_VIEW,), ["wikimedia"])
    run.outbox.put("register", name="fer-demo", promote=False, later="later")
    run.outbox.put("end", status="FINISHED", reason="", time=10**12, unless_begun=False)


def check_everything(client: mlflow.MlflowClient, run: TrackedRun) -> None:
    """Check that all of it stands in the store once."""
    found = client.get_run(run.id)
    assert found.info.status == "FINISHED" and found.info.end_time == 10**12
    assert found.data.params == {"arch": "resnet18", "lr": "0.1"}
    history = {key: [(p.step, p.value) for p in client.get_metric_history(run.id, key)] for key in found.data.metrics}
    assert history == {"loss": [(1, 0.5), (2, 0.25)], "lr": [(1, 0.1)], "wikimedia/accuracy": [(0, 0.5)]}
    assert [item.path for item in client.list_artifacts(run.id, "tables")] == ["tables/a.csv"]
    assert len(client.list_artifacts(run.id, "images")) == 2
    (entry,) = found.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("wikimedia", MANIFEST.digest)
    (model,) = client.search_logged_models([run.experiment_id])
    assert (stores.model_of(run.id), model.status.value, model.name) == (model.model_id, "READY", "a model")
    assert model.tags[NOTE] == "what it is"
    (tied,) = [metric for metric in model.metrics if metric.key == "wikimedia/accuracy"]
    assert (tied.value, tied.dataset_name, tied.dataset_digest) == (0.5, "wikimedia", MANIFEST.digest)
    card = Path(mlflow.artifacts.download_artifacts(f"{model.artifact_location}/README.md"))
    assert card.read_text() == f"# the card of {model.model_id}"
    assert found.data.tags[NOTE] == f"Its model is `{model.model_id}`."
    (version,) = client.search_model_versions("name='fer-demo'")
    assert (version.tags["score"], found.data.tags[REGISTERED][:11]) == ("0.500000", "fer-demo/1:")
    assert HEARTBEAT not in found.data.tags


def test_something_of_every_kind_delivered_twice_is_recorded_once(client, recording, downloaded):
    record_everything(recording.run, downloaded)
    recorded = {entry.kind for entry in recording.spool.entries()}
    assert recorded == KINDS.keys(), "a kind is missing here"
    results = recording.deliver()
    check_everything(client, recording.run)
    (registration,) = [result for result in results if isinstance(result, Registration)]
    assert (registration.name, registration.version) == ("fer-demo", "1")


def test_a_whole_spool_delivered_twice_is_recorded_once(client, recording, downloaded):
    record_everything(recording.run, downloaded)
    recording.deliver_all_again()
    check_everything(client, recording.run)


def test_a_run_that_did_not_finish_says_why_once(client, recording):
    recording.run.describe("what it was")
    recording.run.outbox.put("end", status="FAILED", reason="no pictures", time=10**12, unless_begun=False)
    recording.deliver(times=3)
    found = client.get_run(recording.run.id)
    assert (found.info.status, found.data.tags["fer.error"]) == ("FAILED", "no pictures")
    assert found.data.tags[NOTE] == "**Not finished:** no pictures\n\nwhat it was"


def test_figures_that_are_no_numbers_are_recorded_once_too(client, recording):
    recording.run.metrics({"loss": math.nan, "lr": math.inf})
    recording.deliver()
    (loss,) = client.get_metric_history(recording.run.id, "loss")
    assert math.isnan(loss.value)
    assert len(client.get_metric_history(recording.run.id, "lr")) == 1


def test_more_figures_than_the_store_takes_at_once_are_all_recorded(client, recording):
    recording.run.metrics({f"m/{number}": number for number in range(1200)})
    recording.deliver()
    assert len(client.get_run(recording.run.id).data.metrics) == 1200


def breaking(monkeypatch: pytest.MonkeyPatch, call: str, error: Exception) -> Callable[[], None]:
    """Make a call of MLflow's client fail once the store has done it; return the mending of it."""
    ours = getattr(mlflow.MlflowClient, call)

    def losing(*words: Any, **options: Any) -> None:
        ours(*words, **options)
        raise error

    monkeypatch.setattr(mlflow.MlflowClient, call, losing)
    return lambda: monkeypatch.setattr(mlflow.MlflowClient, call, ours)


@pytest.mark.parametrize("call", ["create_logged_model", "log_outputs", "finalize_logged_model"])
def test_a_model_whose_making_was_cut_off_is_gone_on_with(client, recording, downloaded, monkeypatch, call):
    recording.run.model(downloaded, "a model", SCORED)
    recording.run.model_files({"README.md": recording.run.model_id})
    mend = breaking(monkeypatch, call, MlflowException("the answer was lost"))
    with pytest.raises(MlflowException, match="the answer was lost"):
        recording.deliver()
    mend()
    recording.deliver()
    (model,) = client.search_logged_models([recording.run.experiment_id])
    assert (model.model_id, model.status.value) == (stores.model_of(recording.run.id), "READY")


def test_what_names_the_model_waits_until_the_store_has_it(recording, downloaded):
    recording.run.describe(recording.run.model_id)
    recording.run.model_files({"README.md": "the card"})
    delivery = Delivery(recording.spool, recording.run.address, recording.run.id, recording.run.experiment_id)
    for entry in recording.spool.pending():
        with pytest.raises(NotYet):
            deliver(delivery, entry)


def test_a_model_of_which_files_are_missing_is_not_registered(client, recording, downloaded, monkeypatch):
    recording.run.model(downloaded, "a model", SCORED)
    recording.run.outbox.put("register", name="fer-demo", promote=False, later="later")
    model, registration = recording.spool.pending()
    delivery = Delivery(recording.spool, recording.run.address, recording.run.id, recording.run.experiment_id)

    def refuse(*words: object) -> None:
        raise MlflowException("not your artifacts", error_code=PERMISSION_DENIED)

    with monkeypatch.context() as patch:
        patch.setattr(Delivery, "upload", refuse)
        with pytest.raises(MlflowException):
            deliver(delivery, model)
    with pytest.raises(NotYet):
        deliver(delivery, registration)
    assert client.search_model_versions("name='fer-demo'") == []
    assert [deliver(delivery, entry) for entry in (model, registration)][1].version == "1"


def test_a_registry_that_refuses_is_noted_on_the_run_and_one_that_does_not_answer_is_asked_again(
    client, recording, downloaded, monkeypatch
):
    recording.run.model(downloaded, "a model", SCORED)
    recording.run.outbox.put("register", name="fer-demo", promote=False, later=f"later of {recording.run.model_id}")
    for code, error in ((INVALID_PARAMETER_VALUE, None), (None, MlflowException)):

        def fail(*words: object, code: int | None = code, **options: object) -> None:
            raise MlflowException("the registry says no", **({"error_code": code} if code else {}))

        with monkeypatch.context() as patch:
            patch.setattr(mlflow, "register_model", fail)
            if error:
                with pytest.raises(error):
                    recording.deliver()
            else:
                delivery = Delivery(recording.spool, recording.run.address, recording.run.id, "0")
                message = [deliver(delivery, entry) for entry in recording.spool.pending()][-1]
                assert "says no" in message and message.endswith(f"; later of {stores.model_of(recording.run.id)}")
                assert client.get_run(recording.run.id).data.tags[UNREGISTERED] == message
    recording.deliver()
    tags = client.get_run(recording.run.id).data.tags
    assert tags[REGISTERED].startswith("fer-demo/1:") and UNREGISTERED not in tags


def test_a_process_that_carries_on_with_the_run_is_not_ended(client, recording):
    recording.run.outbox.put("end", status="KILLED", reason="stopped", time=10**12, unless_begun=False)
    client.set_tag(recording.run.id, "fer.attempt", "2:another")
    recording.deliver()
    assert client.get_run(recording.run.id).info.status == "RUNNING"


def test_a_store_that_refuses_views_costs_a_line_and_one_that_does_not_answer_is_asked_again(
    recording, monkeypatch, capsys
):
    recording.run.views((ACCURACY_VIEW,), ["raf"])
    (entry,) = recording.spool.pending()
    delivery = Delivery(recording.spool, recording.run.address, recording.run.id, "0")
    for code, raised in ((PERMISSION_DENIED, False), (None, True)):

        def fail(*words: object, code: int | None = code) -> None:
            raise MlflowException("no", **({"error_code": code} if code else {}))

        monkeypatch.setattr(mlflow.MlflowClient, "set_experiment_tag", fail)
        if raised:
            with pytest.raises(MlflowException):
                deliver(delivery, entry)
        else:
            deliver(delivery, entry)
            assert "warning: the views of MLflow's page of runs were not written" in capsys.readouterr().out


def test_a_kept_file_that_is_gone_is_named_and_not_waited_for(recording, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{}")
    recording.run.text("x", "notes/a.txt")
    recording.run.model(tmp_path / "model", "a model", SCORED)
    for path in (recording.spool.folder / "files").iterdir():
        shutil.rmtree(path)
    for entry in recording.spool.pending():
        if entry.kind in ("file", "model"):
            with pytest.raises(DataError, match=r"is missing: what it held is lost; delete .* if the run can") as gone:
                recording.deliver_one(entry)
            assert not fault_of("", gone.value).passes
