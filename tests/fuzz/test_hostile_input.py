"""Every reader of what others wrote takes hostile input or refuses it in a sentence; see `tests/fuzz/hostile.py`.

`pytest -m fuzz -n0` tries more, for `FER_FUZZ_SECONDS` in all, and prints a table, which it also writes to the file
that `FER_FUZZ_TABLE` names. `FER_FUZZ_READERS` chooses readers by how their names begin, such as `archives,YAML`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer.errors import DataError
from fer.portable.images import UnusableImage
from tests.fuzz import hostile, runs
from tests.fuzz.hostile import Broken, Target, accepts
from tests.fuzz.mutations import altered, spoilt

FEW = 12
"""Inputs of each reader in the ordinary tests."""
SECONDS = 600.0
"""Of the longer run, for all readers together."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of a short name, as sentences that are not to be long name it."""
    with TemporaryDirectory(prefix="fer-fuzz-") as name:
        yield Path(name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", runs.GROUPS)
def test_hostile_input_is_read_or_refused_in_one_sentence(group: str) -> None:
    for target in runs.targets_of(group):
        with TemporaryDirectory(prefix="fer-fuzz-") as name:
            try:
                runs.run_few(target, Path(name), FEW)
            except Broken as fault:
                fault.add_note(f"the reader: {target.name}")
                raise


@pytest.mark.fuzz
def test_much_hostile_input_is_read_or_refused_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = tuple(os.environ.get("FER_FUZZ_READERS", "").split(","))
    # Made here only to name them: each is read in a process of its own.
    names = [name for name in runs.all_targets() if name.startswith(chosen)]
    share = float(os.environ.get("FER_FUZZ_SECONDS", SECONDS)) / len(names)
    tallies = []
    for name in names:
        tallies.append(runs.in_process(name, share))
        with capsys.disabled():
            print(runs.line(tallies[-1]), flush=True)
            for fault, value in tallies[-1].faults.items():
                print(f"  {fault}\n    {value}", flush=True)
    table = runs.table(tallies)
    if "FER_FUZZ_TABLE" in os.environ:
        Path(os.environ["FER_FUZZ_TABLE"]).write_text(table + "\n", encoding="utf-8")
    with capsys.disabled():
        print(f"\n{table}")
    assert all(tally.inputs for tally in tallies)
    assert {tally.reader: tally.faults for tally in tallies if tally.faults} == {}


def reader(read: Any, kinds: type = str) -> Target[Any]:
    return Target("a reader", st.just(b"x"), read, kinds, (b"x",))


def loops(value: bytes, folder: Path) -> str:
    while True:
        pass


def refuses(sentence: str) -> Any:
    def read(value: bytes, folder: Path) -> str:
        raise DataError(sentence)

    return read


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (lambda value, folder: [][0], "crash: IndexError"),
        (lambda value, folder: 5, "it returned int"),
        (refuses("two\nlines"), "of several lines"),
        (refuses("\x1b[31mred"), "signs that steer a terminal"),
        (refuses("x" * 601), "of 601 characters"),
        (refuses(""), "empty"),
        (refuses(f"https://user:{hostile.SECRET}@example.org is gone"), "tells a password"),
        (lambda value, folder: (folder.parent / "escape").write_text("x"), "Escape: open"),
        (lambda value, folder: (folder / "../escape").mkdir(), "Escape: os.mkdir"),
        (lambda value, folder: os.system("true"), "Escape: os.system"),
        (lambda value, folder: str(len(b"x" * 600_000_000)), "memory: "),
        (loops, "Hang"),
    ],
    ids=["crash", "type", "lines", "control", "long", "empty", "secret", "file", "folder", "program", "memory", "loop"],
)
def test_a_reader_that_breaks_the_promise_is_found(
    read: Any, fault: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostile, "SECONDS", 0.5)
    if fault.startswith("memory") and not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells a process's peak anew")
    with pytest.raises(Broken, match=fault):
        accepts(reader(read), b"x", folder)


def another(value: bytes, folder: Path) -> str:
    raise UnusableImage("empty file")


def test_a_reader_that_keeps_it_is_not(folder: Path) -> None:
    def keeps(value: bytes, place: Path) -> str:
        (place / "a").write_bytes(value)
        (place / "a").rename(place / "b")
        return (place / "b").read_text()

    assert accepts(reader(keeps), b"x", folder)
    assert not accepts(reader(refuses("the file is empty: download it again")), b"x", folder)
    with pytest.raises(Broken, match="UnusableImage"):
        accepts(reader(another), b"x", folder)


def test_the_longer_run_counts_what_breaks_the_promise_and_goes_on(folder: Path) -> None:
    def read(value: bytes, place: Path) -> bytes:
        if value == b"valid":
            return value
        if len(value) % 2:
            raise DataError("it is odd")
        return value if len(value) < 9 else [value][1]

    target = Target("a reader", spoilt([b"valid"]), read, bytes, (b"valid",))
    tally = runs.run_long(target, folder, 3.0)
    assert tally.inputs == tally.accepted + tally.refused + tally.crashes > 10
    assert min(tally.accepted, tally.refused, tally.crashes) > 0
    assert "crash: IndexError: list index out of range" in tally.faults


def test_the_table_adds_up() -> None:
    tallies = [runs.Tally("a", 5, 3, 1, 1, 0), runs.Tally("b", 2000, 0, 1999, 0, 1)]
    assert runs.table(tallies).splitlines()[2:] == [
        "| a | 5 | 1 | 3 | 1 | 0 |",
        "| b | 2,000 | 1,999 | 0 | 0 | 1 |",
        "| all | 2,005 | 2,000 | 3 | 1 | 1 |",
    ]


def test_altered_values_differ_in_few_parts() -> None:
    sound = {"a": 1, "b": [1, {"c": "x"}]}
    seen = []

    @runs.quiet(200)
    @given(altered(sound))
    def collect(value: Any) -> None:
        seen.append(value)

    collect()
    assert sum(value == sound for value in seen) < 50
    assert any(isinstance(value, dict) and value.get("b") == sound["b"] for value in seen)
    assert any(isinstance(value, dict) and "b" not in value for value in seen)
