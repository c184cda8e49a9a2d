"""Speed of preparing against bare decoding, of finding faces, and of manifests of a million images.

What is compared is measured in turns within one run, so that a machine that slows down slows all. Bare decoding opens
each file with Pillow and loads its pixels, on all cores, in threads or in processes, whichever is faster. Preparing is
measured whole, without finding faces: scan, copies, checks, hashes and manifest. Plain copies of the same files tell
what the file system takes of that; a folder in memory, such as /dev/shm, leaves it out.

    python benchmarks/prepare.py --folder /dev/shm     # pictures of three sizes
    python benchmarks/prepare.py --faces ~/pictures    # faces in the pictures of a folder
    python benchmarks/prepare.py --rows 1000000        # manifests, each step in a process of its own
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from fer.data.datasets.base import Candidate, Scan
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.framing import center_face, center_face_weights
from fer.data.prepare import prepare
from fer.expressions import EXPRESSIONS
from fer.portable.detection import INPUT, OUTPUTS
from fer.portable.images import UnusableImage, read_rgb
from fer.utils.parallel import CHUNK, map_on_all_cores

SIZES = {"RAF-DB's": (100, 100), "AffectNet's": (256, 256), "KDEF's": (562, 762)}
"""Width and height of pictures like a data set's."""
DISTINCT = 50
"""Different pictures of a size, each written many times."""
BATCHES = (1, 2, 4, 8)
SIDE = 224
"""Side in pixels of the pictures in batches, AffectNet's and Wikimedia's usual one."""


def write_pictures(folder: Path, size: tuple[int, int], count: int) -> None:
    """Write JPEG files of random pictures, which are smooth with a little noise, as photographs are."""
    folder.mkdir()
    width, height = size
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        if number >= DISTINCT:
            shutil.copyfile(folder / f"{number % DISTINCT:06d}.jpg", path)
            continue
        spots = rng.integers(0, 256, (height // 12 + 2, width // 12 + 2, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(spots).resize(size, Image.Resampling.BICUBIC))
        noisy = smooth + rng.normal(0, 4, smooth.shape)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path, quality=90)


def decode(paths: list[str]) -> None:
    """Decode pictures and do nothing with them."""
    for path in paths:
        with Image.open(path) as image:
            image.load()


def decoding_seconds(executor: Executor, paths: list[str]) -> float:
    """Return how long all cores decode pictures."""
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    started = time.perf_counter()
    list(executor.map(decode, chunks))
    return time.perf_counter() - started


def copying_seconds(paths: list[str], folder: Path) -> float:
    """Return how long all cores copy files into a new folder."""
    folder.mkdir()

    def copy(chunk: Sequence[str]) -> Sequence[str]:
        for path in chunk:
            shutil.copyfile(path, folder / Path(path).name)
        return chunk

    started = time.perf_counter()
    with map_on_all_cores(copy, paths) as copied:
        list(copied)
    return time.perf_counter() - started


def scan(source: Path) -> Scan:
    """List the pictures of a folder as a training set of all expressions."""
    result = Scan()
    for number, path in enumerate(sorted(source.iterdir())):
        expression = EXPRESSIONS[number % len(EXPRESSIONS)]
        result.candidates.append(Candidate(path, expression, "train", path.name, path.name))
    return result


def preparing_seconds(folder: Path, root: Path) -> float:
    """Return how long a folder's pictures take to be prepared under a new data root."""
    dataset = replace(WIKIMEDIA, scan=scan, expected_counts={})
    started = time.perf_counter()
    prepare(dataset, folder, root)
    return time.perf_counter() - started


def compare_with_decoding(arguments: argparse.Namespace) -> None:
    """Measure and print one table: pictures a second, and how fast preparing is as a fraction of bare decoding."""
    print(f"{os.cpu_count()} cores, pictures a second, medians of {arguments.rounds} rounds")
    print(
        f"{'':12}{'pixels':>9}{'pictures':>10}{'decode: threads':>17}{'processes':>11}{'copy':>8}{'prepare':>9}  ratio"
    )
    with ThreadPoolExecutor(os.cpu_count()) as threads, ProcessPoolExecutor(os.cpu_count()) as processes:
        for name, size in SIZES.items():
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                # Nothing is deleted meanwhile: file systems are slow to reuse what has just become free.
                place = Path(folder)
                count = round(arguments.megapixels * 1e6 / (size[0] * size[1]))
                write_pictures(place / "pictures", size, count)
                paths = [str(path) for path in sorted((place / "pictures").iterdir())]
                rounds = []
                # One round more, which warms up.
                for number in range(arguments.rounds + 1):
                    decoding = [decoding_seconds(executor, paths) for executor in (threads, processes)]
                    copying = copying_seconds(paths, place / f"copies-{number}")
                    preparing = preparing_seconds(place / "pictures", place / f"data-{number}")
                    rounds.append((*decoding, copying, preparing, preparing / min(decoding)))
                *seconds, slowness = map(statistics.median, zip(*rounds[1:], strict=True))
                shown = "".join(
                    f"{count / time:{width}.0f}" for time, width in zip(seconds, (17, 11, 8, 9), strict=True)
                )
                print(f"{name:12}{size[0]:>5}x{size[1]:<3}{count:10}{shown}{1 / slowness:7.2f}", flush=True)


def compare_detection(arguments: argparse.Namespace) -> None:
    """Measure and print how many pictures a second faces are found in, and what batches would change."""
    pictures = []
    for path in sorted(Path(arguments.faces).rglob("*")):
        with suppress(UnusableImage):
            pictures += [np.asarray(read_rgb(path))] if path.is_file() else []
    detector = center_face()
    found = sum(bool(detector.faces(picture)) for picture in pictures)
    print(f"{len(pictures)} pictures, faces in {found}, medians of {arguments.rounds} rounds, each of all pictures")

    def find(chunk: Sequence[np.ndarray]) -> list[int]:
        return [len(detector.faces(picture)) for picture in chunk]

    def on_all_cores() -> None:
        with map_on_all_cores(find, pictures, chunk=4) as counts:
            list(counts)

    works: dict[str, Callable[[], object]] = {"one thread": lambda: find(pictures), "all cores": on_all_cores}
    print_milliseconds(works, len(pictures), arguments.rounds)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(center_face_weights(), options, providers=["CPUExecutionProvider"])
    batch = np.random.default_rng(0).integers(0, 256, (max(BATCHES), 3, SIDE, SIDE)).astype(np.float32)

    def run(size: int) -> None:
        for start in range(0, len(batch), size):
            session.run(OUTPUTS, {INPUT: batch[start : start + size]})

    print(f"the network alone, {SIDE} px, one thread")
    works = {f"batches of {size}": lambda size=size: run(size) for size in BATCHES}
    print_milliseconds(works, len(batch), arguments.rounds)


def print_milliseconds(works: dict[str, Callable[[], object]], pictures: int, rounds: int) -> None:
    """Do works in turns and print the time and the processor's time that each takes for a picture."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            started, worked = time.perf_counter(), time.process_time()
            work()
            seconds[name].append((time.perf_counter() - started, time.process_time() - worked))
    for name, times in seconds.items():
        wall, processor = (1000 * statistics.median(column) / pictures for column in zip(*times[1:], strict=True))
        print(f"  {name:14}{wall:7.2f} ms a picture, {processor:6.2f} ms of a core")


def main() -> None:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="where to write; the system's folder for temporary files by default")
    parser.add_argument("--megapixels", type=float, default=400, help="pixels of all pictures of a size together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--faces", default="", help="a folder of pictures: measure how fast faces are found in them")
    parser.add_argument("--rows", type=int, default=0, help="measure manifests of so many rows")
    arguments = parser.parse_args()
    if arguments.rows:
        command = [sys.executable, str(Path(__file__).with_name("manifests.py")), "--rows", str(arguments.rows)]
        subprocess.run([*command, "--folder", arguments.folder or tempfile.gettempdir()], check=True)
    elif arguments.faces:
        compare_detection(arguments)
    else:
        compare_with_decoding(arguments)


if __name__ == "__main__":
    main()
