"""Decode a folder's pictures in one of the project's ways, in as many threads as are asked for, and print the peak.

Run as a program, so that the memory is that of the work alone: `python -m tests.portable.decoding <way> <pictures>
<folder to work in> <threads> <budget in bytes>`. It prints by how many bytes the work raised the process's memory.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from fer.data.datasets.base import Candidate, Scan
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.framing import Framing, center_face, center_face_weights, frame_all
from fer.data.images import inspect
from fer.data.manifest import ImageRow, Manifest, folder_of
from fer.data.packing import pack
from fer.portable import memory
from fer.utils.parallel import thread_pool

SIDE = 32
"""Of the faces that are cut out."""


def copy(pictures: list[Path], folder: Path) -> None:
    """As `prepare` does."""
    from fer.data.copying import copy_checked

    candidates = [Candidate(path, "fear", "test", path.name, path.name) for path in pictures]
    rows, left_out = copy_checked(WIKIMEDIA, Scan(candidates), folder)
    assert len(rows) == len(pictures), left_out


def frame(pictures: list[Path], folder: Path) -> None:
    """As `prepare` does of a set whose faces are to be found."""
    assert len(frame_all(_manifest(pictures, folder).images, folder, Framing(), center_face())) == len(pictures)


def pack_all(pictures: list[Path], folder: Path) -> None:
    """As training does of a set that is new."""
    assert len(pack(_manifest(pictures, folder), folder, SIDE)) == len(pictures)


def predict(pictures: list[Path], folder: Path) -> None:
    """As `predict`, `features` and the demo do, in threads."""
    from fer.models.backbones import Classifier, ModelSpec
    from fer.prediction.recogniser import Recogniser

    recogniser = Recogniser(Classifier(ModelSpec("squeezenet1_1", SIDE)))
    with thread_pool() as pool:
        assert len(list(pool.map(recogniser.faces, pictures))) == len(pictures)


def serve(pictures: list[Path], folder: Path) -> None:
    """As the served model does, whose requests come in threads."""
    from fer.models.backbones import Classifier, ModelSpec
    from fer.models.files import save_classifier
    from fer.portable.predictions import NO_FACE, Predictor

    save_classifier(Classifier(ModelSpec("squeezenet1_1", SIDE)), folder)
    (folder / "detector.onnx").write_bytes(center_face_weights())
    predictor = Predictor(folder, folder / "detector.onnx")
    with thread_pool() as pool:
        answers = list(pool.map(lambda path: predictor.rows([path.read_bytes()], "auto"), pictures))
    assert {row["error"] for rows in answers for row in rows} <= {None, NO_FACE}


def _manifest(pictures: list[Path], folder: Path) -> Manifest:
    """A set that holds the pictures, without a copy of them; their faces reach beyond them."""
    place = folder / folder_of("wikimedia", "test", "fear")
    place.mkdir(parents=True)
    rows = []
    for path in pictures:
        (place / path.name).symlink_to(path)
        with Image.open(path) as image:
            width, height = image.size
        frame = f"{width / 2:.1f} {height / 2:.1f} {max(width, height):.1f} 10.0"
        name = f"test/wikimedia/2/{path.name}"
        rows.append(ImageRow(name, "fear", "test", "", "", "", "0", 1, width, height, path.name, "", frame=frame))
    return Manifest("wikimedia", rows)


WAYS: dict[str, Callable[[list[Path], Path], None]] = {
    "copy": copy,
    "frame": frame,
    "pack": pack_all,
    "predict": predict,
    "serve": serve,
    "inspect": lambda pictures, folder: [inspect(path) for path in pictures] and None,
}


def in_memory(kind: str) -> int:
    """Return the bytes of this process in memory, now (`VmRSS:`) or at most (`VmHWM:`)."""
    return int(Path("/proc/self/status").read_text().split(kind)[1].split()[0]) * 1024


def main(way: str, pictures: str, scratch: str, threads: str, budget: str) -> None:
    Image.MAX_IMAGE_PIXELS = None
    os.cpu_count = lambda: int(threads)
    memory.DECODING_BUDGET = memory.MemoryBudget(int(budget))
    folder = Path(scratch)
    # What is imported and kept for ever is no matter of the pictures.
    small = folder / "small.png"
    Image.new("RGB", (99, 99), (90, 80, 70)).save(small)
    for name in ("first", "all"):
        (folder / name).mkdir()
    WAYS[way]([small], folder / "first")
    before = in_memory("VmRSS:")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    WAYS[way](sorted(Path(pictures).iterdir()), folder / "all")
    print(in_memory("VmHWM:") - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
