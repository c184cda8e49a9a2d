"""Run the readers on hostile input: on a few inputs of each, or on as many as a time allows, each in its own process.

`python -m tests.fuzz.runs <reader> <seconds>` prints what became of the inputs as a line of JSON.
"""

import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from tests.fuzz.hostile import HARD_SECONDS, Broken, Target, accepts
from tests.paths import ROOT

GROUPS = ("archives", "commons", "labels", "models", "options", "pictures", "records", "served")
"""Modules that name readers."""
ROUND = 200
"""Inputs that are drawn from one seed."""
SHOWN = 400
"""Characters that are kept of an input, and of how it broke the promise."""


@dataclass
class Tally:
    """What became of the inputs of one reader.

    Attributes:
        reader: Its name.
        inputs: How many were read.
        accepted: How many were taken.
        refused: How many were refused in a sentence.
        crashes: How many broke the promise in any way but by taking too long.
        hangs: How many took too long.
        faults: How the promise was broken, with an input for each way.
    """

    reader: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    crashes: int = 0
    hangs: int = 0
    faults: dict[str, str] = field(default_factory=dict)


@cache
def targets_of(group: str) -> list[Target[Any]]:
    """Return the readers of a group; what they read is made when they are first asked for."""
    found: list[Target[Any]] = importlib.import_module(f"tests.fuzz.{group}").targets()
    return found


@cache
def all_targets() -> dict[str, Target[Any]]:
    """Return all readers by name."""
    found = {}
    for group in GROUPS:
        for target in targets_of(group):
            assert target.name not in found
            found[target.name] = target
    return found


def quiet(count: int, shrinks: bool = False) -> settings:
    """Return how Hypothesis draws so many inputs."""
    return settings(
        max_examples=count,
        derandomize=shrinks,
        database=None,
        # A time limit of our own stops what takes too long, where Hypothesis would only measure it.
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if shrinks else (Phase.generate,),
        verbosity=Verbosity.quiet,
    )


def run_few(target: Target[Any], folder: Path, count: int) -> None:
    """Read sound and formerly fatal inputs, and so many new ones, the same in every run.

    Raises:
        Broken: The reader broke its promise; Hypothesis shows the smallest input that it found.
    """
    warm_up(target, folder)
    for value in target.known:
        accepts(target, value, folder)

    @quiet(count, shrinks=True)
    @given(target.inputs)
    def example(value: Any) -> None:
        accepts(target, value, folder)

    example()


def warm_up(target: Target[Any], folder: Path) -> None:
    """Read sound inputs, which must be taken, and import thereby what is imported late."""
    target.set_up(folder)
    # The memory of the first input is that of what it imports.
    target.read(target.valid[0], folder)
    for value in target.valid:
        assert accepts(target, value, folder), f"{target.name}: sound input is refused"


def run_long(target: Target[Any], folder: Path, seconds: float, first_seed: int = 0) -> Tally:
    """Read inputs until a time has passed, and go on after those that break the promise."""
    warm_up(target, folder)
    tally = Tally(target.name)
    end = time.monotonic() + seconds

    def read(value: Any) -> None:
        # A round that is drawn slowly goes on to its end.
        if time.monotonic() < end:
            _count(tally, target, value, folder)

    for value in target.known:
        read(value)
    number = first_seed
    while time.monotonic() < end:
        number += 1
        _round(target, number, read)
    return tally


def _count(tally: Tally, target: Target[Any], value: Any, folder: Path) -> None:
    tally.inputs += 1
    try:
        is_taken = accepts(target, value, folder)
    except Broken as fault:
        is_hang = str(fault).startswith("Hang")
        tally.hangs += is_hang
        tally.crashes += not is_hang
        tally.faults.setdefault(str(fault)[:SHOWN], repr(value)[:SHOWN])
        return
    tally.accepted += is_taken
    tally.refused += not is_taken


def _round(target: Target[Any], number: int, read: Callable[[Any], None]) -> None:
    @seed(number)
    @quiet(ROUND)
    @given(target.inputs)
    def example(value: Any) -> None:
        read(value)

    example()


def in_process(name: str, seconds: float) -> Tally:
    """Run a reader for some time in a process of its own, whose end by a fault of a library counts as a crash."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz.runs", name, str(seconds)]
    limit = 3 * seconds + 2 * HARD_SECONDS
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return Tally(name, hangs=1, faults={f"it did not end within {limit:.0f} seconds": ""})
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        is_hang = any(line.startswith("Timeout (") for line in lines)
        told = " | ".join(lines[-12:])[-2 * SHOWN :]
        return Tally(name, crashes=int(not is_hang), hangs=int(is_hang), faults={f"status {done.returncode}": told})
    return Tally(**json.loads(done.stdout.splitlines()[-1]))


def table(tallies: list[Tally]) -> str:
    """Return what became of all inputs as a table in Markdown."""
    lines = [
        "| what is read | inputs | refused in a sentence | accepted | crashes | hangs |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    total = Tally("all")
    for tally in tallies:
        lines.append(line(tally))
        for name in ("inputs", "refused", "accepted", "crashes", "hangs"):
            setattr(total, name, getattr(total, name) + getattr(tally, name))
    return "\n".join([*lines, line(total)])


def line(tally: Tally) -> str:
    """Return a reader's line of the table."""
    counts = (tally.inputs, tally.refused, tally.accepted, tally.crashes, tally.hangs)
    return f"| {tally.reader} | {' | '.join(f'{count:,}' for count in counts)} |"


def main(name: str, seconds: str) -> None:
    """Run one reader and print its tally."""
    with tempfile.TemporaryDirectory(prefix="fer-fuzz-") as folder:
        tally = run_long(all_targets()[name], Path(folder), float(seconds), first_seed=time.time_ns() % 10**9)
    print(json.dumps(asdict(tally)))


if __name__ == "__main__":
    main(*sys.argv[1:])
