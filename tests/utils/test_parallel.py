"""Pictures decoded at once stay within one amount of memory, however many cores and however large pictures."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from fer.contamination import signatures
from fer.contamination.signatures import ImageSignatures
from fer.data import checked_copies, framing, packing
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.framing import Framing, frame_all, read_thumbnail
from fer.data.manifest import Manifest
from fer.data.packing import pack
from fer.data.prepare import prepare
from fer.data.prepared import Prepared
from fer.portable.images import MAX_BYTES, MAX_PIXELS, UnusableImage, decode
from fer.utils import parallel
from fer.utils.parallel import (
    BYTES_PER_PIXEL,
    CHUNK,
    CHUNKS_AHEAD,
    DECODING_BUDGET,
    MemoryBudget,
    map_on_all_cores,
    open_within_budget,
    thread_pool,
)

CORES = 16
SIDE = 2000
WORKING_ON = """
import os, sys
from pathlib import Path
from fer.data import copying
from fer.data.datasets.base import Candidate, Scan
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.utils import parallel

os.cpu_count = lambda: {cores}
parallel.DECODING_BUDGET = parallel.MemoryBudget({memory})
pictures = sorted(Path(sys.argv[1]).iterdir())
candidates = [Candidate(path, "fear", "test", path.name, path.name) for path in pictures]

def in_memory(kind):
    return int(Path("/proc/self/status").read_text().split(kind)[1].split()[0]) * 1024

(Path(sys.argv[2]) / "first").mkdir()
(Path(sys.argv[2]) / "all").mkdir()
small = Candidate(Path(sys.argv[3]), "fear", "test", "small", "small")
copying.copy_checked(WIKIMEDIA, Scan([small]), Path(sys.argv[2]) / "first")
before = in_memory("VmRSS:")
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
rows, left_out = copying.copy_checked(WIKIMEDIA, Scan(candidates), Path(sys.argv[2]) / "all")
assert len(rows) == len(pictures), left_out
print(in_memory("VmHWM:") - before)
"""


class Held:
    """Takes the place of `parallel.DECODING_BUDGET` and notes how much is held, and how much at most."""

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

    for module in (checked_copies, framing, packing, signatures):
        monkeypatch.setattr(module, "decode", watched)
    yield counts


def room_for_two(pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [40 * 50 * BYTES_PER_PIXEL + path.stat().st_size for path in pictures]
    largest = max(sizes)
    smallest = min(sizes)
    assert 3 * smallest > 2 * largest
    monkeypatch.setattr(parallel, "DECODING_BUDGET", MemoryBudget(2 * largest))


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


def test_every_work_on_all_cores_decodes_within_the_shared_memory(
    download: Path, tmp_path: Path, reading: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for_two(sorted(download.rglob("*.png")), monkeypatch)
    root = tmp_path / "data"
    done: Prepared = prepare(WIKIMEDIA, download, root)
    works: dict[str, Callable[[], object]] = {
        "prepare": lambda: None,
        "frame": lambda: frame_all(done.manifest.images, root, Framing(), NoFaces()),
        "pack": lambda: pack(done.manifest, root, 20),
        "signatures": lambda: made(done.manifest, root),
    }
    for name, work in works.items():
        work()
        assert (len(reading), max(reading)) == (21, 2), name
        reading.clear()


@pytest.mark.parametrize("count", [0, 1, 7, 300, 3000])
def test_results_come_in_the_order_of_the_items_from_tasks_of_few(count: int, many_cores: None) -> None:
    sizes: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        time.sleep(0.001 * (items[0] % 3))
        return [item**2 for item in items]

    with map_on_all_cores(work, range(count)) as results:
        assert list(results) == [item**2 for item in range(count)]
    assert max(sizes, default=0) <= CHUNK
    # Few items are shared out among all cores.
    assert len(sizes) >= min(count, CORES)


def test_few_results_wait_for_whoever_takes_them(many_cores: None) -> None:
    begun: list[int] = []
    with map_on_all_cores(lambda items: begun.extend(items) or items, range(100_000)) as results:
        assert next(results) == 0
        time.sleep(0.05)
        assert len(begun) <= CHUNK * CHUNKS_AHEAD * CORES


def test_a_fault_ends_what_has_not_begun(many_cores: None) -> None:
    done: list[int] = []

    def work(items: Sequence[int]) -> Sequence[int]:
        if items[0] == 0:
            raise KeyboardInterrupt
        time.sleep(0.001)
        done.extend(items)
        return items

    with pytest.raises(KeyboardInterrupt), map_on_all_cores(work, range(100_000)) as results:
        list(results)
    finished = len(done)
    time.sleep(0.02)
    assert finished == len(done) < 100_000 / 10


def made(manifest: Manifest, root: Path) -> ImageSignatures:
    return signatures.image_signatures(manifest, root)


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
    monkeypatch.setattr(parallel, "DECODING_BUDGET", MemoryBudget(0))
    for name in ("a", "none"):
        with pytest.raises(UnusableImage):
            open_within_budget(tmp_path / name, lambda image: "done")


def peak(folder: Path, memory: int, tmp_path: Path) -> int:
    """Return the bytes by which checking a folder's pictures on 16 cores raised a process's memory at most."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells a process's peak anew")
    Image.new("RGB", (9, 9), (90, 80, 70)).save(tmp_path / "small.png")
    draft = tmp_path / f"draft-{memory}"
    draft.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WORKING_ON.format(cores=CORES, memory=memory), folder, draft, tmp_path / "small.png"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_many_large_pictures_on_many_cores_stay_within_the_memory(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(CORES):
        Image.new("RGBA", (SIDE, SIDE), (number, 90, 200, 128)).save(folder / f"{number}.png", compress_level=1)
    one = BYTES_PER_PIXEL * SIDE**2
    assert peak(folder, one, tmp_path) < 1.2 * one
    assert peak(folder, CORES * one, tmp_path) > 1.5 * one, "nothing else keeps them apart"


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
    assert SIDE**2 < peak(folder, DECODING_BUDGET.size, tmp_path) < BYTES_PER_PIXEL * SIDE**2
