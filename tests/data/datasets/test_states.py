from dataclasses import replace
from pathlib import Path

import pytest

from fer.data.datasets.own import OwnSet, record_path, write_record
from fer.data.datasets.registry import DATASETS
from fer.data.datasets.states import SetState, set_states
from fer.data.prepared import Prepared

Ready = tuple[Path, dict[str, Prepared]]


@pytest.fixture(autouse=True)
def nothing_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide downloads that this machine may hold outside of the data root."""
    monkeypatch.setenv("HOME", str(tmp_path))


def states(root: Path) -> dict[str, SetState]:
    return {state.name: state for state in set_states(root)}


def test_every_set_tells_where_it_was_looked_for_and_how_to_get_it(tmp_path: Path) -> None:
    listed = states(tmp_path)
    assert list(listed) == list(DATASETS)
    kdef = listed["kdef"]
    assert kdef.state == "not here"
    assert kdef.places == (str(tmp_path / "KDEF_and_AKDEF"),)
    assert kdef.to_do == "request it at kdef.se, then fer prepare --dataset kdef --source <its folder or archive>"
    assert listed["wikimedia"].to_do == "fer prepare --dataset wikimedia downloads it"
    assert listed["drawn-raf"].to_do == "fer prepare --dataset drawn draws it"
    assert all(state.to_do for state in listed.values())


def test_a_download_that_is_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "KDEF_and_AKDEF").mkdir()
    kdef = states(tmp_path)["kdef"]
    assert kdef.state == f"not prepared; its download is at {tmp_path / 'KDEF_and_AKDEF'}"
    assert kdef.to_do == "fer prepare --dataset kdef"


def test_a_prepared_set_tells_its_counts_and_that_it_is_not_complete(prepared: Ready) -> None:
    root, _ = prepared
    raf = states(root)["raf"]
    assert raf.state == "prepared: 30 train, 8 validation, 14 test; framing none; not the complete set"
    assert raf.to_do == ""


def test_sets_of_ones_own_come_last_even_where_the_record_is_damaged(tmp_path: Path) -> None:
    mine = OwnSet("mine", str(tmp_path / "gone"))
    write_record(tmp_path, mine)
    write_record(tmp_path, replace(mine, name="broken"))
    record_path(tmp_path, "broken").write_text("{}")
    *_, broken, own = states(tmp_path).values()
    assert (broken.name, broken.state) == ("broken", "record damaged")
    assert "dataset=folder name=broken" in broken.to_do
    # An empty one would be shown as "free".
    assert broken.terms == "terms not stated"
    assert (own.name, own.state) == ("mine", "not here")
    assert own.terms == "mine: terms not stated"
