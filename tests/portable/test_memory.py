"""Pictures decoded at once stay within one amount of memory, however many cores and however large pictures."""

import io
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from fer.contamination import signatures
from fer.contamination.signatures import image_signatures
from fer.data import checked_copies, framing, images, packing
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.framing import Framing, center_face_weights, frame_all, read_thumbnail
from fer.data.images import inspect
from fer.data.packing import pack
from fer.data.prepare import prepare
from fer.data.prepared import Prepared
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import save_classifier
from fer.portable import memory, predictions
from fer.portable.images import MAX_BYTES, MAX_PIXELS, UnusableImage, decode
from fer.portable.memory import BYTES_PER_PIXEL, DECODING_BUDGET, SMALL_FILE, MemoryBudget, open_within_budget
from fer.portable.predictions import Predictor
from fer.prediction import files, recogniser
from fer.prediction.files import use_picture
from fer.prediction.recogniser import Recogniser
from fer.utils.parallel import thread_pool
from tests.paths import ROOT
from tests.portable.decoding import WAYS

CORES = 16
SIDE = 2000


class Held:
    """Takes the place of `memory.DECODING_BUDGET` and notes how much is held, and how much at most."""

    def __init__(self, size: int) -> None:
        self.memory, self.now, self.most, self.times = MemoryBudget(size), 0, 0, 0

    def reserve(self, needed: int) -> "Holding":
        return Holding(self, needed)


class Holding:
    def __init__(self, held: Held, needed: int) -> None:
        self.held, self.needed, self.inner = held, needed, held.memory.reserve(needed)

    def __enter__(self) -> None:
        self.inner.__enter__()
        self.held.now += self.needed
        self.held.times += 1
        self.held.most = max(self.held.most, self.held.now)

    def __exit__(self, *error: object) -> None:
        self.held.now -= self.needed
        self.inner.__exit__(*error)


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: CORES)


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch, many_cores: None) -> Iterator[list[int]]:
    """How many pictures were in memory whenever a thread read one, with room for two of the prepared set."""
    counts: list[int] = []
    inside: set[int] = set()

    def watched(image: ImageFile.ImageFile) -> object:
        inside.add(id(image))
        counts.append(len(inside))
        time.sleep(0.02)
        try:
            return decode(image)
        finally:
            inside.remove(id(image))

    for module in (checked_copies, framing, packing, signatures, images, files, recogniser, predictions):
        monkeypatch.setattr(module, "decode", watched)
    yield counts


def room_for_two(pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [40 * 50 * BYTES_PER_PIXEL + path.stat().st_size for path in pictures]
    largest = max(sizes)
    smallest = min(sizes)
    assert 3 * smallest > 2 * largest
    monkeypatch.setattr(memory, "DECODING_BUDGET", MemoryBudget(2 * largest))


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """A Wikimedia download of 21 pictures of one size."""
    rng = np.random.default_rng(0)
    for number in range(21):
        place = tmp_path / f"download/{number % 7 + 1}/{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(place)
    return tmp_path / "download"


class NoFaces:
    name, version = "none", "0"

    def faces(self, picture: object) -> list:
        return []


def in_threads(work: Callable[[Any], object], items: Iterable[Any]) -> None:
    with thread_pool() as pool:
        list(pool.map(work, items))


def served(folder: Path) -> Callable[[list[bytes]], object]:
    """What answers a request of a served model that takes whole pictures."""
    save_classifier(Classifier(ModelSpec("squeezenet1_1", 32, framing="none")), folder / "model")
    (folder / "detector.onnx").write_bytes(center_face_weights())
    predictor = Predictor(folder / "model", folder / "detector.onnx")
    return lambda values: predictor.rows(values, "auto")


def test_every_work_on_all_cores_decodes_within_the_shared_memory(
    download: Path, tmp_path: Path, reading: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for_two(sorted(download.rglob("*.png")), monkeypatch)
    root = tmp_path / "data"
    done: Prepared = prepare(WIKIMEDIA, download, root)
    rows = done.manifest.images
    paths = [root / row.path for row in rows]
    recognised = Recogniser(Classifier(ModelSpec("squeezenet1_1", 32, framing="none")))
    # Looking for faces takes more than there is here, so that one picture at a time is read for it.
    works: dict[str, tuple[int, Callable[[], object]]] = {
        "prepare": (2, lambda: None),
        "frame": (1, lambda: frame_all(rows, root, Framing(), NoFaces())),
        "pack": (2, lambda: pack(done.manifest, root, 20)),
        "signatures": (2, lambda: image_signatures(done.manifest, root)),
        "thumbnails": (2, lambda: in_threads(lambda row: read_thumbnail(row, root, 20), rows)),
        "facts": (2, lambda: in_threads(inspect, paths)),
        "predict and features": (1, lambda: in_threads(lambda path: use_picture(path, np.shape), paths)),
        "fer.load": (1, lambda: in_threads(recognised.faces, paths)),
        "served model": (2, lambda: in_threads(served(tmp_path), [[path.read_bytes()] for path in paths])),
    }
    for name, (most, work) in works.items():
        work()
        assert (len(reading), max(reading)) == (21, most), name
        reading.clear()


def test_room_never_exceeds_the_memory_and_nobody_waits_for_ever(many_cores: None) -> None:
    held = Held(100)
    sizes = np.random.default_rng(0).integers(0, 101, 300).tolist()

    def work(size: int) -> int:
        with held.reserve(size):
            time.sleep(0.0005)
        return size

    with thread_pool() as pool:
        assert list(pool.map(work, sizes)) == sizes
    assert held.times == 300
    assert 50 < held.most <= 100


def test_what_needs_more_than_there_is_runs_alone_and_a_fault_gives_its_room_back() -> None:
    memory = MemoryBudget(10)
    for _ in range(3):
        with pytest.raises(ValueError, match="any"), memory.reserve(11):
            raise ValueError("any")
    with memory.reserve(10):
        pass


def test_there_is_room_for_the_largest_picture_that_is_taken() -> None:
    assert BYTES_PER_PIXEL * MAX_PIXELS + MAX_BYTES == DECODING_BUDGET.size == 2_200_000_000


def test_a_contact_sheet_holds_small_pictures_in_memory(tmp_path: Path) -> None:
    (tmp_path / "download/1").mkdir(parents=True)
    Image.new("RGB", (2000, 1000), (90, 80, 70)).save(tmp_path / "download/1/a.png")
    (row,) = prepare(WIKIMEDIA, tmp_path / "download", tmp_path / "data").manifest.images
    assert read_thumbnail(row, tmp_path / "data", 256).size == (256, 128)


def test_a_file_that_is_no_picture_takes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"an editor's backup")
    monkeypatch.setattr(memory, "DECODING_BUDGET", MemoryBudget(0))
    for name in ("a", "none"):
        with pytest.raises(UnusableImage):
            open_within_budget(tmp_path / name, lambda image: "done")


def peak(way: str, folder: Path, scratch: Path, threads: int, budget: int) -> int:
    """Return the bytes by which decoding a folder's pictures in one way raised a process's memory at most."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells a process's peak anew")
    place = scratch / f"{way}-{budget}"
    place.mkdir()
    command = [sys.executable, "-W", "ignore", "-m", "tests.portable.decoding", way, folder, place, threads, budget]
    done = subprocess.run(map(str, command), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.fixture
def large_pictures(tmp_path: Path) -> Path:
    return painted(tmp_path / "pictures", CORES)


def painted(folder: Path, count: int) -> Path:
    """Make a folder of so many large pictures."""
    folder.mkdir()
    for number in range(count):
        Image.new("RGBA", (SIDE, SIDE), (number, 90, 200, 128)).save(folder / f"{number}.png", compress_level=1)
    return folder


def test_many_large_pictures_on_many_cores_stay_within_the_memory(large_pictures: Path, tmp_path: Path) -> None:
    one = BYTES_PER_PIXEL * SIDE**2
    assert peak("copy", large_pictures, tmp_path, CORES, one) < 1.2 * one
    assert peak("copy", large_pictures, tmp_path, CORES, CORES * one) > 1.5 * one, "nothing else keeps them apart"


@pytest.mark.parametrize("way", ["frame", "pack", "serve"])
def test_framing_packing_and_a_served_model_stay_within_it_too(way: str, tmp_path: Path) -> None:
    budget = 2 * BYTES_PER_PIXEL * SIDE**2
    assert SIDE**2 < peak(way, painted(tmp_path / "pictures", 6), tmp_path, 64, budget) < budget


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_largest_pictures_that_are_taken_stay_within_the_budget_on_64_cores(way: str, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    side = math.isqrt(MAX_PIXELS)
    for number in range(3):
        Image.new("RGBA", (side, side), (number, 90, 200, 128)).save(folder / f"{number}.png", compress_level=1)
        Image.new("RGB", (side, side), (90, 80, number)).save(folder / f"{number}.bmp")
        Image.new("RGB", (4000, 3000), (90, 80, number)).save(folder / f"{number}.jpg")
    assert side**2 < peak(way, folder, tmp_path, 64, DECODING_BUDGET.size) < DECODING_BUDGET.size


@pytest.mark.parametrize(
    ("mode", "format", "colour"),
    [("RGB", "JPEG", (90, 80, 70)), ("CMYK", "JPEG", (9, 8, 7, 6)), ("RGBA", "WEBP", (90, 80, 70, 60))],
)
def test_a_picture_takes_no_more_memory_than_is_held_for_it(
    mode: str, format: str, colour: tuple[int, ...], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new(mode, (SIDE, SIDE), colour).save(folder / "a", format, exif=exif)
    # Copying would read most of a JPEG at an eighth of its size only.
    assert SIDE**2 < peak("inspect", folder, tmp_path, CORES, DECODING_BUDGET.size) < BYTES_PER_PIXEL * SIDE**2


def test_a_thread_that_holds_a_part_may_not_wait_for_another() -> None:
    budget = MemoryBudget(10)
    with budget.reserve(4), pytest.raises(AssertionError), budget.reserve(4):
        pass
    with budget.reserve(10):
        pass


@pytest.mark.parametrize("size", [SMALL_FILE // 2, 2 * SMALL_FILE])
def test_small_and_large_files_and_contents_give_the_same_picture(size: int, tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    Image.new("RGB", (1000, size // 3000), (9, 8, 7)).save(path)
    for source in (path, path.read_bytes()):
        assert open_within_budget(source, lambda image: decode(image)[0].getpixel((0, 0))) == (9, 8, 7)


def test_what_is_needed_beside_a_picture_is_held_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(10**9)
    monkeypatch.setattr(memory, "DECODING_BUDGET", held)
    content = io.BytesIO()
    Image.new("RGB", (30, 20)).save(content, "PNG")
    open_within_budget(content.getvalue(), decode, lambda width, height: 1000 * width + height)
    assert held.most == BYTES_PER_PIXEL * 600 + len(content.getvalue()) + 30_020
