"""Checkpoints that reach the store while a training goes on."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from fer.tracking.checkpoint_upload import STAGED, CheckpointUpload
from fer.tracking.names import CHECKPOINT, CHECKPOINTS
from fer.tracking.stored_checkpoints import forget_checkpoints, stored_checkpoint

ENOUGH = 30.0
"""Seconds that any upload here takes at most."""


@pytest.fixture
def run_id(client) -> str:
    return str(client.create_run("0").info.run_id)


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "training"
    path.mkdir()
    return path


@pytest.fixture
def make_upload(run_id, folder) -> Iterator[Callable[..., CheckpointUpload]]:
    made: list[CheckpointUpload] = []

    def make(bytes_a_day: float = 1e12) -> CheckpointUpload:
        upload = CheckpointUpload(mlflow.get_tracking_uri(), run_id, folder, bytes_a_day)
        upload.start()
        made.append(upload)
        return upload

    yield make
    for upload in made:
        upload.end()


def write(folder: Path, last: bytes, best: bytes = b"") -> None:
    (folder / "last.ckpt").write_bytes(last)
    if best:
        (folder / "best.ckpt").write_bytes(best)


def stored(client: mlflow.MlflowClient, run_id: str) -> dict[str, bytes]:
    """Return the files that the run's tag names, by the name they have on the machine."""
    checkpoint = stored_checkpoint(client.get_run(run_id).data.tags)
    assert checkpoint is not None
    contents = {}
    for name, file in checkpoint["files"].items():
        content = Path(client.download_artifacts(run_id, file["path"])).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
        assert len(content) == file["bytes"]
        contents[name] = content
    return contents


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + ENOUGH
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def test_the_newest_checkpoint_is_stored_and_the_one_before_goes(client, run_id, folder, make_upload):
    upload = make_upload()
    for number in range(3):
        write(folder, b"last %d" % number, b"best")
        upload.offer(folder, epoch=number, step=number + 10)
        assert upload.finish(ENOUGH)
    assert stored(client, run_id) == {"last.ckpt": b"last 2", "best.ckpt": b"best"}
    checkpoint = stored_checkpoint(client.get_run(run_id).data.tags)
    assert checkpoint is not None
    assert (checkpoint["epoch"], checkpoint["step"]) == (2, 12)
    assert len(client.list_artifacts(run_id, CHECKPOINTS)) == 2
    assert not list((folder / STAGED).iterdir())


def test_what_is_stored_is_what_was_offered_though_the_file_changes_meanwhile(client, run_id, folder, make_upload):
    write(folder, b"offered")
    upload = make_upload()
    upload.offer(folder, epoch=1, step=0)
    # As a training does: a new file in its place.
    (folder / "new").write_bytes(b"written since")
    (folder / "new").replace(folder / "last.ckpt")
    assert upload.finish(ENOUGH)
    assert stored(client, run_id) == {"last.ckpt": b"offered"}


def test_never_two_at_once_and_what_is_outdated_is_left_out(client, run_id, folder, make_upload, monkeypatch):
    began: list[bytes] = []
    at_once: list[int] = []
    real = LocalArtifactRepository.log_artifact

    def slow(repository, file, *words):
        began.append(Path(file).read_bytes())
        at_once.append(1)
        assert len(at_once) == 1
        time.sleep(0.3)
        at_once.pop()
        return real(repository, file, *words)

    monkeypatch.setattr(LocalArtifactRepository, "log_artifact", slow)
    upload = make_upload()
    for number in range(5):
        write(folder, b"%d" % number)
        upload.offer(folder, epoch=number, step=0)
        assert eventually(lambda: bool(began))
    assert upload.finish(ENOUGH)
    assert began == [b"0", b"4"]
    assert stored(client, run_id) == {"last.ckpt": b"4"}


def test_a_training_offers_without_waiting(folder, make_upload, monkeypatch):
    monkeypatch.setattr(LocalArtifactRepository, "log_artifact", lambda *words: time.sleep(3))
    upload = make_upload()
    write(folder, b"x")
    began = time.monotonic()
    for number in range(20):
        upload.offer(folder, epoch=number, step=0)
    assert time.monotonic() - began < 1


def test_bytes_of_a_day_are_not_exceeded(client, run_id, folder, make_upload):
    # After these thousand bytes the next are due in a tenth of a day.
    upload = make_upload(bytes_a_day=10_000)
    write(folder, b"a" * 1000)
    upload.offer(folder, epoch=0, step=0)
    assert eventually(lambda: stored_checkpoint(client.get_run(run_id).data.tags) is not None)
    write(folder, b"b" * 1000)
    upload.offer(folder, epoch=1, step=0)
    time.sleep(1)
    assert stored(client, run_id) == {"last.ckpt": b"a" * 1000}
    # But the last one goes, as the machine may be lost.
    assert upload.finish(ENOUGH)
    assert stored(client, run_id) == {"last.ckpt": b"b" * 1000}


def test_an_upload_that_is_cut_off_leaves_the_checkpoint_before(client, run_id, folder, make_upload, monkeypatch):
    write(folder, b"first", b"best of the first")
    upload = make_upload()
    upload.offer(folder, epoch=0, step=0)
    assert upload.finish(ENOUGH)
    real = LocalArtifactRepository.log_artifact

    def cut(repository, file, *words):
        if "last" in Path(file).name:
            raise OSError("the line is cut")
        return real(repository, file, *words)

    with monkeypatch.context() as patch:
        patch.setattr(LocalArtifactRepository, "log_artifact", cut)
        write(folder, b"second", b"best of the second")
        upload.offer(folder, epoch=1, step=0)
        # It is tried again and again.
        assert not upload.finish(2.5)
        assert stored(client, run_id) == {"last.ckpt": b"first", "best.ckpt": b"best of the first"}
    assert upload.finish(ENOUGH)
    assert stored(client, run_id) == {"last.ckpt": b"second", "best.ckpt": b"best of the second"}


def test_a_store_that_refuses_is_asked_once_and_the_sentence_says_so(folder, make_upload, monkeypatch, capsys):
    calls: list[int] = []

    def refuse(*words):
        calls.append(1)
        raise MlflowException("not yours", error_code=PERMISSION_DENIED)

    monkeypatch.setattr(LocalArtifactRepository, "log_artifact", refuse)
    upload = make_upload()
    write(folder, b"x")
    upload.offer(folder, epoch=0, step=0)
    assert not upload.finish(ENOUGH)
    upload.offer(folder, epoch=1, step=0)
    assert not upload.finish(ENOUGH)
    assert len(calls) == 1
    assert capsys.readouterr().err.count("checkpoints stay on this machine") == 1


def test_a_training_that_has_finished_leaves_no_checkpoint_to_go_on_from(client, run_id, folder, make_upload):
    upload = make_upload()
    write(folder, b"x", b"y")
    upload.offer(folder, epoch=0, step=0)
    assert upload.finish(ENOUGH)
    upload.end()
    client.log_artifact(run_id, str(folder / "best.ckpt"), CHECKPOINTS)
    forget_checkpoints(client, run_id)
    assert stored_checkpoint(client.get_run(run_id).data.tags) is None
    assert [item.path for item in client.list_artifacts(run_id, CHECKPOINTS)] == ["checkpoints/best.ckpt"]


def test_no_empty_folder_is_left_where_nothing_is_kept(client, run_id, folder, make_upload):
    upload = make_upload()
    write(folder, b"x")
    upload.offer(folder, epoch=0, step=0)
    assert upload.finish(ENOUGH)
    upload.end()
    forget_checkpoints(client, run_id)
    assert client.list_artifacts(run_id) == []


def tag(**changes: object) -> str:
    file = {"path": "checkpoints/last-0123.ckpt", "sha256": "ab" * 32, "bytes": 5} | changes.pop("file", {})
    return json.dumps({"epoch": 1, "step": 2, "files": {"last.ckpt": file}} | changes)


def test_a_tag_names_a_checkpoint():
    checkpoint = stored_checkpoint({CHECKPOINT: tag()})
    assert checkpoint is not None
    assert checkpoint["files"]["last.ckpt"]["path"] == "checkpoints/last-0123.ckpt"


@pytest.mark.parametrize(
    "value",
    [
        "", "{", "[]", "{}", "[" * 100_000, tag(files={}), tag(files={"best.ckpt": {}}), tag(epoch="1"), tag(step=-1),
        tag(epoch=True), tag(file={"path": None}), tag(file={"path": "checkpoints/../../x.ckpt"}),
        tag(file={"path": "checkpoints/.."}), tag(file={"path": "/etc/passwd"}), tag(file={"path": "model/x"}),
        tag(file={"path": "checkpoints/a\nb"}), tag(file={"sha256": "ab"}), tag(file={"sha256": 7}),
        tag(file={"path": "checkpoints/a/b"}), tag(file={"path": r"checkpoints/..\x"}),
        tag(file={"path": "checkpoints/"}), tag(file={"path": "/checkpoints/a"}),
        tag(file={"sha256": "xy" * 32}), tag(file={"sha256": None}),
        tag(files=["last.ckpt"]), tag(files={"last.ckpt": "a"}), tag(files={"last.ckpt": {}}), tag(epoch=None),
        tag(step=0.5), tag(epoch=-1), tag(files={"last.ckpt": {"path": "checkpoints/a"}}), tag(files=None),
        tag(files={"last.ckpt": {"sha256": "ab" * 32}}), '{"epoch": 1, "files": {}}', '{"step": 1}',
        tag(files={"last.ckpt": {"path": "checkpoints/a", "sha256": "ab" * 32}, "../../.ssh/x": {}}),
        tag(files={"../last.ckpt": {"path": "checkpoints/a", "sha256": "ab" * 32}}),
    ],
)  # fmt: skip
def test_a_tag_that_names_no_checkpoint_or_leads_elsewhere_is_none(value):
    assert stored_checkpoint({CHECKPOINT: value}) is None
