"""What `resume` finds: the run to carry on with, its options, and its newest checkpoint."""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import mlflow
import pytest
import torch

from fer.config.training import FinetuneConfig, PretrainConfig
from fer.errors import ConfigError, Interrupted, ModelError
from fer.pipeline import resume
from fer.pipeline.resume import find_stopped
from fer.tracking.lifecycle import tracked
from fer.training.checkpoints import BEST, CHECKPOINT_FORMAT, LAST, place_best
from fer.training.progress import Progress
from tests import stores


def write(path: Path, config: FinetuneConfig, run_id: str = "", **progress: int) -> Path:
    """Write as much of a `last.ckpt` as is looked at before a training goes on, and the `best.ckpt` beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"format": CHECKPOINT_FORMAT, "optimizer": {}, "config": asdict(config), "run_id": run_id}
    torch.save({**content, "progress": vars(Progress(**progress))}, path)
    torch.save({"best of": progress}, path.with_name(BEST))
    return path


def test_a_checkpoint_that_chose_by_a_score_of_another_name_is_not_continued(tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.ckpt"
    for selection in ("class_mean", "mean_class_accuracy"):
        write(checkpoint, FinetuneConfig(selection=selection))
        if selection == "class_mean":
            stopped = find_stopped("finetune", FinetuneConfig(resume=str(checkpoint)))
            assert (stopped.config.selection, stopped.checkpoint) == (selection, checkpoint)
    with pytest.raises(ModelError, match=r"earlier version .* selection=mean_class_accuracy: start a new run$"):
        find_stopped("finetune", FinetuneConfig(resume=str(checkpoint)))


@pytest.mark.parametrize(
    ("stored", "given", "tested"),
    [("prepared", "prepared", "prepared"), ("raf", "prepared", "raf"), ("raf", "raf+kdef", "raf+kdef"),
     ("prepared", "kdef", "kdef")],
)  # fmt: skip
def test_a_continued_run_tests_what_the_stopped_one_would_have_unless_it_is_told(
    tmp_path: Path, stored: str, given: str, tested: str
) -> None:
    options = FinetuneConfig(evaluate_on=stored, checkpoint_minutes=3.0, epochs=7, output="there")
    checkpoint = write(tmp_path / "last.ckpt", options)
    now = FinetuneConfig(resume=str(checkpoint), evaluate_on=given, output="here", checkpoint_minutes=5.0)
    config = find_stopped("finetune", now).config
    assert config.evaluate_on == tested
    assert (config.output, config.checkpoint_minutes, config.epochs) == ("here", 5.0, 7)


def test_an_option_that_differs_and_another_commands_checkpoint_are_refused(tmp_path: Path) -> None:
    checkpoint = write(tmp_path / "last.ckpt", FinetuneConfig(epochs=7))
    with pytest.raises(ConfigError, match=r"resume continues with epochs=7, not 9: leave epochs out"):
        find_stopped("finetune", FinetuneConfig(resume=str(checkpoint), epochs=9))
    with pytest.raises(ModelError, match=r"is nothing that pretrain can continue"):
        find_stopped("pretrain", PretrainConfig(resume=str(checkpoint)))


def test_a_best_epoch_that_was_cut_short_is_found_before_the_training_goes_on(tmp_path: Path) -> None:
    checkpoint = write(tmp_path / "stopped" / LAST, FinetuneConfig(), epoch=2, best_epoch=1)
    torch.save({"model": {}}, checkpoint.with_name(BEST))
    place_best(checkpoint, tmp_path / "continued")
    content = checkpoint.with_name(BEST).read_bytes()
    for kept in (content[:-50], content[:100], b"", bytes(len(content))):
        checkpoint.with_name(BEST).write_bytes(kept)
        with pytest.raises(
            ModelError, match=r"best\.ckpt is damaged or cannot be read: put a good copy of the stopped"
        ):
            place_best(checkpoint, tmp_path / "continued")
    # What was there stays.
    assert (tmp_path / "continued" / BEST).read_bytes() == content


def test_nothing_to_resume_is_a_new_run() -> None:
    config = FinetuneConfig(epochs=3)
    stopped = find_stopped("finetune", config)
    assert (stopped.config, stopped.run_id, stopped.checkpoint) == (config, "", None)


def test_the_best_epoch_comes_along_and_is_missed_where_it_is_needed(tmp_path: Path) -> None:
    checkpoint = write(tmp_path / "there" / LAST, FinetuneConfig(), best_epoch=2)
    place_best(checkpoint, tmp_path / "here")
    assert (tmp_path / "here" / BEST).read_bytes() == checkpoint.with_name(BEST).read_bytes()
    checkpoint.with_name(BEST).unlink()
    with pytest.raises(ModelError, match=r"best\.ckpt is missing: put the stopped run's best\.ckpt beside its last"):
        place_best(checkpoint, tmp_path / "other")
    # Within the first epoch there is none yet.
    place_best(write(tmp_path / "first" / LAST, FinetuneConfig(), best_epoch=0), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.fixture
def client(empty_store: Path, tmp_path: Path) -> Iterator[mlflow.MlflowClient]:
    stores.copy(empty_store, tmp_path)
    with stores.connected(tmp_path) as client:
        yield client


def stopped_run(config: FinetuneConfig, mark: str = "", **progress: int) -> str:
    """Leave a run as a training does that SIGTERM stops, its checkpoint in the store, and return its id."""
    with pytest.raises(Interrupted), tracked("finetune", config, "stopped") as run:
        run.mark(mark)
        if progress:
            write(run.folder / LAST, config, run.id, **progress)
            run.checkpoint(run.folder, progress["epoch"], progress.get("step", 0))
        raise Interrupted(15)
    return run.id


@pytest.fixture
def config(tmp_path: Path) -> FinetuneConfig:
    return FinetuneConfig(epochs=7, output=str(tmp_path / "runs"))


def resuming(run_id: str, output: Path | str) -> FinetuneConfig:
    return FinetuneConfig(resume=run_id, output=str(output))


def test_a_run_is_continued_in_an_empty_folder_from_the_store(client, config, tmp_path):
    run_id = stopped_run(config, epoch=2, step=3, best_epoch=1)
    shutil.rmtree(config.output)
    stopped = find_stopped("finetune", resuming(run_id, tmp_path / "elsewhere"))
    folder = tmp_path / "elsewhere" / run_id
    assert (stopped.run_id, stopped.config.epochs, stopped.checkpoint) == (run_id, 7, folder / LAST)
    assert torch.load(folder / LAST)["progress"]["step"] == 3
    assert torch.load(folder / BEST) == {"best of": {"epoch": 2, "step": 3, "best_epoch": 1}}


@pytest.mark.parametrize(("epoch", "step", "newer"), [(2, 4, "here"), (3, 0, "here"), (2, 2, "store"), (1, 9, "store")])
def test_of_the_checkpoints_here_and_in_the_store_the_newer_is_taken(client, config, epoch, step, newer):
    run_id = stopped_run(config, epoch=2, step=3, best_epoch=1)
    local = write(Path(config.output) / run_id / LAST, config, run_id, epoch=epoch, step=step)
    stopped = find_stopped("finetune", resuming(run_id, config.output))
    assert stopped.checkpoint == local
    found = torch.load(local)["progress"]
    assert (found["epoch"], found["step"]) == ((epoch, step) if newer == "here" else (2, 3))


@pytest.mark.parametrize("name", [LAST, BEST])
def test_a_damaged_download_is_refused_and_what_is_here_stays(client, config, tmp_path, name):
    run_id = stopped_run(config, epoch=2, step=3, best_epoch=1)
    local = write(Path(config.output) / run_id / LAST, config, run_id, epoch=1, step=0)
    before = {path.name: path.read_bytes() for path in (local, local.with_name(BEST))}
    (stored,) = (tmp_path / "mlruns").rglob(f"checkpoints/{Path(name).stem}-*.ckpt")
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with pytest.raises(ModelError, match=rf"checkpoints/{Path(name).stem}-\w+\.ckpt of run {run_id} is damaged"):
        find_stopped("finetune", resuming(run_id, config.output))
    assert before.items() <= {path.name: path.read_bytes() for path in local.parent.glob("*.ckpt")}.items()
    assert sorted(path.name for path in local.parent.glob("*.ckpt*")) == [BEST, LAST]


@pytest.mark.parametrize("kept_bytes", [0, 100])
def test_a_checkpoint_cut_short_by_a_loss_of_power_gives_way_to_the_stores(client, config, capsys, kept_bytes):
    run_id = stopped_run(config, epoch=2, step=3, best_epoch=1)
    local = Path(config.output) / run_id / LAST
    with local.open("r+b") as file:
        file.truncate(kept_bytes)
    stopped = find_stopped("finetune", resuming(run_id, config.output))
    assert stopped.checkpoint == local
    assert torch.load(local)["progress"]["step"] == 3
    assert "the store's checkpoint takes its place" in capsys.readouterr().err


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_again_as_itself(client, config, tmp_path):
    run_id = stopped_run(config)
    for output in (config.output, tmp_path / "elsewhere"):
        stopped = find_stopped("finetune", resuming(run_id, output))
        assert (stopped.run_id, stopped.checkpoint, stopped.config.epochs) == (run_id, None, 7)


def test_a_checkpoint_somewhere_continues_its_run_where_the_store_knows_that(client, config, tmp_path):
    run_id = stopped_run(config)
    for name, known in ((run_id, run_id), ("0" * 32, ""), ("", "")):
        file = write(tmp_path / "copied.ckpt", config, name)
        stopped = find_stopped("finetune", resuming(str(file), config.output))
        assert (stopped.run_id, stopped.checkpoint) == (known, file)


def test_a_run_that_is_not_there_is_one_sentence(client, config):
    with pytest.raises(ModelError, match=f"there is no run {'0' * 32}"):
        find_stopped("finetune", resuming("0" * 32, config.output))
    with pytest.raises(ModelError, match=r"there is no run offline-0123 in "):
        find_stopped("finetune", resuming("offline-0123", config.output))


@pytest.fixture
def marked(monkeypatch) -> None:
    """Trainings are known by their number of epochs alone."""
    for name in ("check_training", "ensure_prepared"):
        monkeypatch.setattr(resume, name, lambda *rest: None)
    monkeypatch.setattr(resume, "unprepared", lambda *rest: [])
    monkeypatch.setattr(resume, "training_fingerprint", lambda command, config: f"{command}-{config.epochs}")


@pytest.mark.parametrize("offline", [False, True], ids=["store", "offline"])
def test_auto_continues_the_newest_unfinished_run_of_equal_options_or_begins_one(client, config, marked, offline):
    config = replace(config, offline=offline)
    auto = replace(config, resume="auto")
    with tracked("finetune", config, "finished") as run:
        run.mark("finetune-7")
    stopped_run(replace(config, epochs=9), "finetune-9")
    found = find_stopped("finetune", auto)
    assert (found.run_id, found.checkpoint, found.config) == ("", None, auto)
    for _ in range(2):
        latest = stopped_run(config, "finetune-7")
    assert find_stopped("finetune", auto).run_id == latest
