"""Bad input gets one clear sentence and exit code 2, and nothing half-written: the real commands on small trees."""

import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
import torch
from mlflow.entities import Run
from PIL import Image

from fer.cli import main
from fer.data.datasets.ferplus import COLUMNS
from fer.data.datasets.raf import LABELS
from fer.data.datasets.registry import DATASETS
from fer.data.prepared import Prepared
from fer.errors import DataError
from fer.expressions import EXPRESSIONS, code_of
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import SPEC, save_classifier
from fer.utils.paths import manifest_path, summary_path
from tests import stores

ALIGNED = Path("Image/aligned")
FINETUNE = (
    "finetune", "--dataset", "raf", "--arch", "squeezenet1_1", "--image_size", "32", "--init", "scratch",
    "--epochs", "1", "--batch_size", "8", "--device", "cpu", "--registered_name", "none",
)  # fmt: skip
PAGE = os.sysconf("SC_PAGE_SIZE")
Copier = Callable[[str], Path]
Ready = tuple[Path, dict[str, Prepared]]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, what it printed, and the runs in its store."""

    code: int
    out: str
    err: str
    runs: list[Run]

    @property
    def run(self) -> Run:
        (run,) = self.runs
        return run

    def refused(self, *parts: str) -> str:
        """Return the one sentence of a refusal, having checked its form, its content and the runs it left."""
        assert self.code == 2, self.err
        lines = self.err.splitlines()
        assert [line for line in lines if line.startswith("fer: ")] == lines[-1:]
        assert "Traceback" not in self.out + self.err
        sentence = lines[-1].removeprefix("fer: ")
        for part in parts:
            assert part in sentence
        parents = {run.data.tags.get("mlflow.parentRunId") for run in self.runs}
        for run in self.runs:
            if "mlflow.parentRunId" not in run.data.tags:
                assert (run.info.status, run.data.tags["fer.error"]) == ("FAILED", sentence)
                # What had not begun leaves nothing behind.
                assert run.info.run_id in parents or run.data.metrics or run.inputs.dataset_inputs
        assert not [run for run in self.runs if run.info.status == "RUNNING"]
        return sentence

    def accepted(self) -> Run:
        """Return the finished run of a command that went through."""
        assert self.code == 0, self.err
        assert self.run.info.status == "FINISHED"
        return self.run


Fer = Callable[..., Ended]


@pytest.fixture(scope="module")
def caches() -> None:
    """Import what keeps caches in the home folder while that is still found."""
    import fer.commands.finetune  # noqa: F401


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data root, not there yet."""
    return tmp_path / "data"


@pytest.fixture
def fer(
    empty_store: Path,
    caches: None,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Fer]:
    """The command line with a store, a data root, a home and a current folder of its own."""
    address = stores.copy(empty_store, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("FER_DATA", str(data))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(None)

    def run(*arguments: str | Path) -> Ended:
        code: object = 0
        capsys.readouterr()
        try:
            main([str(word) for word in arguments])
        except SystemExit as stop:
            code = stop.code
        client = mlflow.MlflowClient(address)
        runs = client.search_runs([item.experiment_id for item in client.search_experiments()])
        assert isinstance(code, int)
        return Ended(code, *capsys.readouterr(), list(runs))

    yield run
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


def kept_in(root: Path) -> list[str]:
    """Everything under a data root but its locks: trees, manifests, drafts and partial files."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if ".locks" not in path.parts)


# Unknown names


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["prepare", "--dataset", "rfa"], ["unknown data set 'rfa'", "did you mean 'raf'?"]),
        (["prepare", "--datset", "raf"], ["unknown option 'datset'", "did you mean 'dataset'?"]),
        (["finetune", "--dataset", "drawn-raf", "--arch", "resnet_50"], ["arch 'resnet_50'", "'resnet50'?"]),
    ],
    ids=["data set", "option", "arch"],
)
def test_an_unknown_data_set_option_or_arch_is_answered_with_the_nearest_name(fer, data, arguments, parts):
    ended = fer(*arguments)
    ended.refused(*parts)
    assert ended.runs == []
    assert kept_in(data) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["main", "--scale", "much"],
        ["main", "--data_root", "nothing/in/here\0"],
        ["pretrain", "--dataset", "rfa"],
        ["pretrain", "--dataset", "raf"],
        ["pretrain", "--dataset", "drawn-raf", "--init", "simclr-face"],
        ["finetune", "--dataset", "raf", "--init", "scratch"],
        ["finetune", "--dataset", "drawn-raf", "--resume", "nowhere"],
        ["evaluate", "--dataset", "rfa"],
        ["evaluate"],
        ["experiment", "--name", "debg"],
        ["experiment", "--name", "raf-scratch"],
        ["compare", "--runs", "nobody"],
        ["compare"],
        ["predict", "--image", "nowhere.jpg"],
        ["predict"],
    ],
    ids=" ".join,
)
def test_a_slip_or_absent_data_leave_no_run(fer, arguments):
    ended = fer(*arguments)
    ended.refused()
    assert ended.runs == []


def test_weights_that_cannot_be_read_leave_no_run(fer, prepared, tmp_path):
    (tmp_path / "weights.ckpt").write_text("nothing of the kind")
    ended = fer(*FINETUNE[:-6], "--data_root", prepared[0], "--init", tmp_path / "weights.ckpt")
    ended.refused("weights.ckpt")
    assert ended.runs == []


def test_a_training_that_fails_after_its_first_epoch_stays(fer, prepared, monkeypatch):
    def fail(*words: object) -> None:
        raise DataError("the disk is full")

    monkeypatch.setattr("fer.pipeline.finalize.save_classifier", fail)
    ended = fer(*FINETUNE, "--data_root", prepared[0])
    ended.refused("the disk is full")
    assert ended.run.data.metrics["validation/accuracy"] >= 0
    assert ended.run.data.tags["mlflow.note.content"].startswith("**Not finished:** the disk is full")


def test_an_unknown_model_is_answered_with_the_nearest_name(fer, prepared):
    address = os.environ["MLFLOW_TRACKING_URI"]
    # The registry is named too: a command of an earlier test has set another for the whole process.
    mlflow.MlflowClient(address, registry_uri=address).create_registered_model("fer-demo")
    ended = fer("evaluate", "--model", "models:/fer-dmo@champion", "--data_root", prepared[0])
    ended.refused("there is no model at models:/fer-dmo@champion")
    assert ended.runs == []


# Absent sets


@pytest.mark.parametrize("command", ["prepare", "finetune"])
@pytest.mark.parametrize(("name", "request_at"), [("raf", "whdeng.cn/RAF"), ("kdef", "request it at kdef.se")])
def test_an_absent_set_says_where_it_looked_how_to_request_it_and_that_drawn_faces_work(
    fer, data, command, name, request_at
):
    ended = fer(command, "--dataset", name)
    places = [str(place) for place in DATASETS[name].default_paths(data)]
    ended.refused("was not found in", *places, request_at, "source=", "dataset=drawn works at once")
    assert ended.runs == []
    assert kept_in(data) == []


# RAF's label file


@pytest.mark.parametrize("code", ["0", "8", "x"])
def test_a_label_file_with_a_code_outside_1_to_7_is_refused_by_line(fer, data, own_copy, code):
    source = own_copy("raf")
    lines = (source / LABELS).read_text().splitlines()
    lines[2] = lines[2][:-1] + code
    (source / LABELS).write_text("\n".join(lines))
    fer("prepare", "--dataset", "raf", "--source", source).refused(
        f"{LABELS} line 3", f"{code!r} is no expression code from 1 to 7"
    )
    assert kept_in(data) == []


def test_two_labels_for_one_name_are_refused(fer, data, own_copy):
    source = own_copy("raf")
    lines = (source / LABELS).read_text().splitlines()
    name, code = lines[0].split()
    (source / LABELS).write_text("\n".join([*lines, f"{name} {int(code) % 7 + 1}"]))
    fer("prepare", "--dataset", "raf", "--source", source).refused(f"line {len(lines) + 1}", name, "has two labels")
    assert kept_in(data) == []


@pytest.mark.parametrize(
    "rewritten",
    [
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n",
        lambda text: text.replace("\n", "\r\n") + "\r\n",
        lambda text: "\ufeff" + text,
        lambda text: text + "\n" + text.splitlines()[0] + "\n",
        lambda text: "\ufeff" + text.replace("\n", "\r\n") + "\r\n" + text.splitlines()[-1],
    ],
    ids=["no final newline", "final newline", "Windows line ends", "byte-order mark", "doubled line", "all at once"],
)
def test_every_writing_of_the_label_file_gives_the_same_set(fer, own_copy, prepared, rewritten):
    source = own_copy("raf")
    text = (source / LABELS).read_text()
    (source / LABELS).write_bytes(rewritten(text).encode())
    run = fer("prepare", "--dataset", "raf", "--source", source).accepted()
    assert run.data.tags["raf.digest"] == prepared[1]["raf"].manifest.digest
    assert run.data.metrics["raf/left_out"] == 0


# Pictures


def lose(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-400])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def make_huge(path: Path) -> None:
    Image.new("1", (8000, 7000)).save(path, "PNG")


def make_a_huge_file(path: Path) -> None:
    os.truncate(path, 2**40)  # a hole: it takes no room


def write_text(path: Path) -> None:
    path.write_text("an editor's backup")


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lose, "missing file"),
        (truncate, "truncated"),
        (empty, "empty file"),
        (make_huge, "huge picture of 8000x7000 pixels"),
        (make_a_huge_file, "huge file of 1099511627776 bytes"),
        (write_text, "no readable picture (of no known format)"),
        (make_a_folder, "missing file"),
    ],
)
def test_a_missing_truncated_empty_huge_or_foreign_file_is_left_out_by_name_and_reason(
    fer, data, own_copy, prepared, damage, reason
):
    source = own_copy("raf")
    damage(source / ALIGNED / "train_00003_aligned.jpg")
    ended = fer("prepare", "--dataset", "raf", "--source", source)
    run = ended.accepted()
    assert run.data.metrics["raf/left_out"] == 1
    assert run.data.metrics["raf/images"] == len(prepared[1]["raf"].manifest.images) - 1
    ((name, told),) = json.loads(summary_path(data, "raf").read_text())["left_out"]
    assert name == "Image/aligned/train_00003_aligned.jpg"
    assert reason in told
    assert f"{told} (such as {name})" in ended.out
    assert not list(data.rglob("train_00003_aligned.jpg"))


def test_a_download_without_one_usable_picture_is_refused(fer, data, own_copy):
    source = own_copy("raf")
    for path in (source / ALIGNED).iterdir():
        path.write_bytes(b"")
    fer("prepare", "--dataset", "raf", "--source", source).refused(
        f"{source} holds no usable picture of RAF-DB basic", "train_00001_aligned.jpg: empty file"
    )
    assert kept_in(data) == []


NOT_UTF8 = os.fsdecode(b"\xff.jpg")


@pytest.mark.parametrize(("name", "folder"), [("wikimedia", "1"), ("kdef", "KDEF/AF01")])
def test_a_file_name_that_is_not_utf8_is_left_out_and_shown_with_escapes(fer, data, own_copy, prepared, name, folder):
    source = own_copy(name)
    picture = next(path for path in sorted((source / folder).iterdir()) if path.suffix.lower() == ".jpg")
    shutil.copyfile(picture, source / folder / NOT_UTF8)
    assert os.fsencode(source / folder / NOT_UTF8) in [os.fsencode(path) for path in (source / folder).iterdir()], (
        "the file system renamed it"
    )
    ended = fer("prepare", "--dataset", name, "--source", source, "--framing", "none")
    run = ended.accepted()
    assert run.data.tags[f"{name}.digest"] == prepared[1][name].manifest.digest
    assert run.data.metrics[f"{name}/left_out"] == len(prepared[1][name].left_out) + 1
    assert r"\xff.jpg)" in ended.out
    shown = [told for told, _ in json.loads(summary_path(data, name).read_text())["left_out"]]
    assert f"{folder.removeprefix('KDEF/')}/\\xff.jpg" in shown


# Archives


def climbing_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("basic/good.txt", b"x")
        packed.writestr("../../evil.txt", b"x")


def absolute_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("/tmp/evil.txt", b"x")


def tar_with(path: Path, **facts: object) -> None:
    with tarfile.open(path, "w") as packed:
        member = tarfile.TarInfo("evil.txt")
        for key, value in facts.items():
            setattr(member, key, value)
        packed.addfile(member)


def climbing_tar(path: Path) -> None:
    tar_with(path, name="../../evil.txt")


def absolute_tar(path: Path) -> None:
    tar_with(path, name="/tmp/evil.txt")


def link_out_tar(path: Path) -> None:
    tar_with(path, type=tarfile.SYMTYPE, linkname="../../../etc")


def device_tar(path: Path) -> None:
    tar_with(path, type=tarfile.CHRTYPE, devmajor=1, devminor=3)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (climbing_zip, "would write outside its folder (../../evil.txt)"),
        (absolute_zip, "would write outside its folder (/tmp/evil.txt)"),
        (climbing_tar, "would write outside its folder (../../evil.txt)"),
        (absolute_tar, "would write outside its folder (/tmp/evil.txt)"),
        (link_out_tar, "holds what may not be unpacked ('evil.txt'"),
        (device_tar, "holds what may not be unpacked ('evil.txt' is a special file)"),
    ],
)
def test_an_archive_that_climbs_out_of_its_folder_is_refused(fer, data, tmp_path, make, why):
    make(tmp_path / "basic.archive")
    fer("prepare", "--dataset", "raf", "--source", tmp_path / "basic.archive").refused(
        str(tmp_path / "basic.archive"), why, "it was not unpacked"
    )
    assert kept_in(data) == []
    assert not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize("kind", ["zip", "gztar"])
@pytest.mark.parametrize("harm", ["cut", "overwritten"])
def test_a_damaged_archive_is_refused(fer, data, raw_trees, tmp_path, kind, harm):
    archive = Path(shutil.make_archive(str(tmp_path / "basic"), kind, raw_trees / "raf"))
    content = bytearray(archive.read_bytes())
    if harm == "overwritten":
        content[len(content) // 2 : len(content) // 2 + 5000] = bytes(5000)
    elif kind == "zip":
        del content[1000:3000]
    else:
        del content[len(content) // 2 :]
    archive.write_bytes(content)
    fer("prepare", "--dataset", "raf", "--source", archive).refused(f"{archive} is damaged", "download it again")
    assert kept_in(data) == []


# Sources of another kind


def labels_of_ferplus(folder: Path) -> None:
    votes = ",".join("0" * (len(COLUMNS) - 1))
    (folder / "fer2013new.csv").write_text(f"Usage,Image name,{','.join(COLUMNS)}\nTraining,fer0000000.png,9,{votes}\n")


def pictures_of_ferplus(folder: Path) -> None:
    (folder / "FER2013Train").mkdir()
    Image.new("L", (48, 48), 90).save(folder / "FER2013Train/fer0000000.png")


def aligned_faces_only(folder: Path) -> None:
    (folder / ALIGNED).mkdir(parents=True)


def averages_only(folder: Path) -> None:
    (folder / "AKDEF").mkdir()
    Image.new("RGB", (20, 20), (90, 80, 70)).save(folder / "AKDEF/AFNES.JPG")


def named_classes(folder: Path) -> None:
    (folder / "surprise").mkdir()


@pytest.mark.parametrize(
    ("name", "make", "lack"),
    [
        ("raf", aligned_faces_only, "looks like RAF's 'basic' without 'EmoLabel'"),
        ("kdef", averages_only, "is not KDEF: it has no folder such as KDEF/AF01"),
        ("ferplus", labels_of_ferplus, "has FER+'s labels but no pictures"),
        ("ferplus", pictures_of_ferplus, "looks like FER2013 without FER+'s labels: it has no fer2013new.csv"),
        ("wikimedia", named_classes, "is not the Wikimedia set: it has no folders 1 to 7"),
    ],
)
@pytest.mark.parametrize("form", ["folder", "archive"])
def test_a_wrong_source_is_recognised_by_what_it_lacks(fer, data, tmp_path, name, make, lack, form):
    source = tmp_path / "download"
    source.mkdir()
    make(source)
    if form == "archive":
        source = Path(shutil.make_archive(str(source), "zip", source))
    fer("prepare", "--dataset", name, "--source", source).refused(str(source), lack)
    assert kept_in(data) == []


# A full disk


@pytest.fixture
def disk(data: Path) -> Iterator[Callable[[str], None]]:
    """Mount a small disk as the data root, with options such as `size=64k`."""

    def mount(options: str) -> None:
        if shutil.which("mount") is None:
            pytest.skip("no small disk can be mounted here: there is no mount command")
        data.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(data)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")

    yield mount
    if data.is_mount():
        # Lazily, because a memory map may still be open.
        subprocess.run(["umount", "-l", str(data)], check=True)


def room_for(*files: Path) -> int:
    """Return the pages that files take on such a disk."""
    return sum(-(-path.stat().st_size // PAGE) for path in files)


def test_no_space_for_the_pictures_is_said_and_leaves_nothing(fer, data, disk, raw_trees):
    disk(f"size={room_for(*raw_trees.glob('kdef/KDEF/*/*')) // 2 * PAGE}")
    fer("prepare", "--dataset", "kdef", "--source", raw_trees / "kdef").refused(f"no space left under {data}")
    assert kept_in(data) == []


def test_no_space_for_the_drawn_faces_is_said_and_leaves_nothing(fer, data, disk):
    disk("size=64k")
    fer("prepare", "--dataset", "drawn", "--scale", "0.02").refused(f"no space left under {data}")
    assert kept_in(data) == []


def test_no_space_for_the_manifest_is_said_and_leaves_nothing(fer, data, disk, raw_trees):
    disk(f"size={(room_for(*raw_trees.glob('kdef/KDEF/*/*')) + 3) * PAGE}")
    fer("prepare", "--dataset", "kdef", "--source", raw_trees / "kdef").refused(f"no space left under {data}")
    assert kept_in(data) == []


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_no_space_for_an_archive_is_said_and_leaves_nothing(fer, data, disk, raw_trees, tmp_path, kind):
    archive = Path(shutil.make_archive(str(tmp_path / "basic"), kind, raw_trees / "raf"))
    disk(f"size={room_for(*raw_trees.glob('raf/Image/aligned/*')) // 2 * PAGE}")
    fer("prepare", "--dataset", "raf", "--source", archive).refused(f"no space left under {data}")
    assert kept_in(data) == []


def test_no_space_to_renew_a_set_leaves_the_old_one_whole(fer, data, disk, own_copy):
    source = own_copy("wikimedia")
    disk(f"size={room_for(*source.glob('[1-7]/*')) * 3 // 2 * PAGE}")
    assert fer("prepare", "--dataset", "wikimedia", "--source", source).code == 0
    before = {name: (data / name).read_bytes() for name in kept_in(data) if (data / name).is_file()}
    Image.new("RGB", (90, 90), (9, 200, 9)).save(source / "3/a new one.jpg")
    ended = fer("prepare", "--dataset", "wikimedia", "--source", source)
    assert ended.code == 2
    assert f"fer: no space left under {data}" in ended.err
    assert {name: (data / name).read_bytes() for name in kept_in(data) if (data / name).is_file()} == before
    assert "already prepared" in fer("prepare", "--dataset", "wikimedia").out


def test_no_space_for_packed_pixels_is_said_and_leaves_no_part_of_them(fer, data, disk, prepared):
    files = [path for path in prepared[0].rglob("*") if path.is_file() and "raf" in str(path.relative_to(prepared[0]))]
    wanted = [path for path in files if "packed" not in path.parts and ".locks" not in path.parts]
    disk(f"size={(room_for(*wanted) + 3) * PAGE}")
    for path in wanted:
        place = data / path.relative_to(prepared[0])
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    before = kept_in(data)
    fer(*FINETUNE).refused(f"no space left under {data}")
    assert [name for name in kept_in(data) if name != "packed"] == before


def test_a_disk_on_which_nothing_can_be_made_is_said(fer, data, disk, raw_trees):
    disk("size=1m,nr_inodes=1")
    fer("prepare", "--dataset", "raf", "--source", raw_trees / "raf").refused(f"no space left under {data}")
    assert list(data.iterdir()) == []


def test_a_data_root_that_may_not_be_written_is_said(fer, data, disk, raw_trees):
    disk("size=1m,ro")
    fer("prepare", "--dataset", "raf", "--source", raw_trees / "raf").refused(
        str(data), "may not be read or written (Read-only file system)", "choose another data_root"
    )
    assert list(data.iterdir()) == []


# Training and models


def test_a_class_without_training_samples_is_refused_by_its_name(fer, data, own_copy):
    download = own_copy("raf")
    kept = [
        line
        for line in (download / LABELS).read_text().splitlines()
        if not (line.startswith("train") and line.endswith(f" {code_of('disgust')}"))
    ]
    (download / LABELS).write_text("\n".join(kept))
    data.mkdir()
    shutil.move(download, data / "raf_basic/basic")
    ended = fer(*FINETUNE)
    ended.refused("no training image shows disgust")
    assert len(ended.runs) == 2
    assert not list(data.rglob("*.partial"))


def otherwise_ordered(form: str, folder: Path) -> Path:
    """Write a small model whose expressions stand in another order, as a checkpoint or a folder."""
    classifier = Classifier(ModelSpec("squeezenet1_1", 32))
    spec = classifier.spec.to_dict() | {"expressions": sorted(EXPRESSIONS)}
    folder.mkdir()
    if form == "folder":
        save_classifier(classifier, folder)
        (folder / SPEC).write_text(json.dumps(spec))
        return folder
    torch.save({"spec": spec, "model": classifier.state_dict()}, folder / "best.ckpt")
    return folder / "best.ckpt"


@pytest.mark.parametrize("form", ["checkpoint", "folder"])
def test_a_model_whose_expression_order_differs_is_refused(fer, prepared, tmp_path, form):
    model = otherwise_ordered(form, tmp_path / "model")
    ended = fer("evaluate", "--model", model, "--dataset", "raf", "--data_root", prepared[0], "--device", "cpu")
    ended.refused(str(model), "orders its expressions as anger, disgust, fear", "not as surprise, fear, disgust")
    assert ended.runs == []


# Sources and data roots that are not what they should be


def a_dangling_link(place: Path) -> str:
    place.symlink_to("gone")
    return "there is no "


def a_circle_of_links(place: Path) -> str:
    place.symlink_to(place.with_name("other"))
    place.with_name("other").symlink_to(place)
    return ""


def an_empty_file(place: Path) -> str:
    place.touch()
    return "is neither a folder nor a zip or tar archive"


def nothing(place: Path) -> str:
    return "there is no "


def a_pipe(place: Path) -> str:
    os.mkfifo(place)
    return "is neither a folder nor a zip or tar archive"


@pytest.mark.parametrize("make", [a_dangling_link, a_circle_of_links, an_empty_file, nothing, a_pipe])
def test_a_source_that_is_neither_folder_nor_archive_is_said(fer, data, tmp_path, make):
    why = make(tmp_path / "source")
    ended = fer("prepare", "--dataset", "raf", "--source", tmp_path / "source")
    ended.refused(f"source '{tmp_path / 'source'}'", why)
    assert ended.runs == []
    assert kept_in(data) == []


@pytest.mark.parametrize("name", [NOT_UTF8, "two\nlines"], ids=["not UTF-8", "two lines"])
@pytest.mark.parametrize("option", ["source", "data_root"])
def test_a_path_that_no_record_can_hold_is_refused(fer, tmp_path, raw_trees, option, name):
    (tmp_path / name).mkdir()
    ended = fer("prepare", "--dataset", "wikimedia", f"--{option}", tmp_path / name)
    ended.refused(f"{option} {str(tmp_path / name)!r} cannot be recorded")
    assert ended.runs == []


@pytest.mark.parametrize("command", ["prepare", "finetune", "evaluate"])
@pytest.mark.parametrize("below", ["", "deeper/down"])
def test_a_data_root_that_is_a_file_is_said(fer, data, command, below):
    data.write_text("not a folder")
    ended = fer(command, "--data_root", data / below)
    ended.refused("data_root", f"{data} is a file")
    assert ended.runs == []


# Prepared sets that somebody changed


@pytest.fixture
def own_data(fer: Fer, data: Path, prepared: Ready) -> Path:
    """A data root of the test's own with prepared sets, to damage."""
    shutil.copytree(prepared[0], data, ignore=shutil.ignore_patterns("packed", "kdef*", "wikimedia*"))
    return data


def test_a_picture_deleted_since_its_preparation_is_named(fer, own_data):
    gone = next(own_data.glob("train/raf/4/*"))
    gone.unlink()
    fer(*FINETUNE).refused(f"{gone}: missing file", "run prepare again for 'raf'")
    assert [name for name in kept_in(own_data) if name.startswith("packed/")] == []


@pytest.mark.parametrize(("before", "after"), [(",fear,", ",anger,"), ("train/raf/", "../raf/"), ("sha256", "hash")])
@pytest.mark.parametrize("command", [FINETUNE, ("evaluate", "--dataset", "raf")], ids=lambda words: words[0])
def test_a_manifest_edited_by_hand_is_refused(fer, own_data, tmp_path, command, before, after):
    path = manifest_path(own_data, "raf")
    path.write_text(path.read_text().replace(before, after))
    if command[0] == "evaluate":
        save_classifier(Classifier(ModelSpec("squeezenet1_1", 32)), tmp_path / "model")
        command += ("--model", str(tmp_path / "model"))
    fer(*command).refused(str(path), "run prepare again for 'raf'")


# YAML files, more of them in tests/utils/test_yaml_files.py


@pytest.mark.parametrize("option", [("finetune", "--config"), ("experiment", "--name")], ids=lambda words: words[0])
@pytest.mark.parametrize("content", ["a: &a [1, 1]\nb: *a", "epochs: !!int foo", "epochs: " + "[" * 500 + "]" * 500])
def test_a_file_of_more_than_plain_yaml_is_refused_before_any_run(fer, tmp_path, option, content):
    (tmp_path / "some.yaml").write_text(content)
    ended = fer(*option, tmp_path / "some.yaml")
    ended.refused(f"config '{tmp_path}/some.yaml' line 1 is not plain YAML: ")
    assert ended.runs == []
