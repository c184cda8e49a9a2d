from pathlib import Path

import pytest

from fer.data.datasets.own import OwnSet, write_record
from fer.data.datasets.registry import (
    ALIASES,
    DATASETS,
    check_own_name,
    expand_aliases,
    find_source,
    in_order,
    missing_download,
    resolve_datasets,
    resolve_prepared,
)
from fer.data.prepared import Prepared
from fer.errors import ConfigError, DataError
from fer.utils.paths import prepared_datasets

Ready = tuple[Path, dict[str, Prepared]]


def names(option: str) -> list[str]:
    return [dataset.name for dataset in resolve_datasets(option, Path("nowhere"))]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("raf", ["raf"]),
        ("raf+kdef", ["raf", "kdef"]),
        ("kdef+raf", ["kdef", "raf"]),
        (" raf + kdef ", ["raf", "kdef"]),
        ("raf+raf", ["raf"]),
        ("drawn", ["drawn-raf", "drawn-kdef", "drawn-wikimedia"]),
        ("drawn+drawn-raf", ["drawn-raf", "drawn-kdef", "drawn-wikimedia"]),
        ("drawn-kdef+drawn", ["drawn-kdef", "drawn-raf", "drawn-wikimedia"]),
        ("raf_basic", ["raf"]),
        ("raf_basic+raf", ["raf"]),
        ("raf_basic+kdef+wikimedia_commons_emotions", ["raf", "kdef", "wikimedia"]),
    ],
)
def test_options_name_one_or_several_sets(option: str, expected: list[str]) -> None:
    assert names(option) == expected


def test_every_set_is_registered_under_its_own_name_and_every_alias_leads_to_sets() -> None:
    assert all(dataset.name == name for name, dataset in DATASETS.items())
    assert {name for members in ALIASES.values() for name in members} <= set(DATASETS)


@pytest.mark.parametrize(("option", "near"), [("rfa", "'raf'"), ("raf+kdfe", "'kdef'"), ("wikimedia_commons", "'wiki")])
def test_an_unknown_name_tells_the_nearest(option: str, near: str) -> None:
    with pytest.raises(ConfigError, match="unknown data set") as caught:
        resolve_datasets(option, Path("nowhere"))
    assert repr(option.split("+")[-1]) in str(caught.value)
    assert near in str(caught.value).split(":")[1]


@pytest.mark.parametrize("option", ["", "raf+", "raf,kdef", "RAF_DB_compound"])
def test_what_is_no_name_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match="unknown data set"):
        resolve_datasets(option, Path("nowhere"))


def test_drawn_sets_are_showable_free_and_without_known_counts() -> None:
    for dataset in resolve_datasets("drawn", Path("nowhere")):
        assert dataset.drawn
        assert dataset.showable
        assert (dataset.terms, dict(dataset.expected_counts)) == ("", {})
    for dataset in resolve_datasets("raf+kdef+wikimedia", Path("nowhere")):
        assert not dataset.drawn
        assert not dataset.showable
        assert dataset.terms


def test_prepared_is_every_prepared_set(prepared: Ready) -> None:
    assert [dataset.name for dataset in resolve_prepared("prepared", prepared[0])] == ["kdef", "raf", "wikimedia"]
    assert prepared_datasets(prepared[0]) == ["kdef", "raf", "wikimedia"]


def test_prepared_sets_may_be_named(prepared: Ready) -> None:
    assert [dataset.name for dataset in resolve_prepared("wikimedia+raf_basic", prepared[0])] == ["wikimedia", "raf"]


def test_a_named_set_must_be_prepared(prepared: Ready) -> None:
    with pytest.raises(DataError, match="dataset=drawn-raf") as caught:
        resolve_prepared("raf+drawn-raf", prepared[0])
    assert str(prepared[0]) in str(caught.value)
    with pytest.raises(ConfigError, match="unknown data set"):
        resolve_prepared("prepare", prepared[0])


def test_nothing_prepared_tells_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"run prepare.*dataset=drawn"):
        resolve_prepared("prepared", tmp_path)


def test_a_manifest_of_no_known_set_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/affectnet.csv").touch()
    with pytest.raises(DataError):
        resolve_prepared("prepared", tmp_path)


def test_the_source_option_wins_and_must_be_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "KDEF_and_AKDEF").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").touch()
    assert find_source(DATASETS["kdef"], str(tmp_path / "mine"), tmp_path) == tmp_path / "mine"
    assert find_source(DATASETS["kdef"], "~/mine", tmp_path) == tmp_path / "mine"
    with pytest.raises(DataError, match="neither a folder nor a zip or tar archive"):
        find_source(DATASETS["kdef"], str(tmp_path / "file"), tmp_path)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("raf", "home/.cache/torch/mmf/data/raf_basic/basic"),
        ("raf", "data/raf_basic/basic"),
        ("kdef", "data/KDEF_and_AKDEF"),
        ("wikimedia", "data/wikimedia_commons_emotions"),
        ("wikimedia", "data/test/wikimedia_commons_emotions"),
        ("drawn-kdef", "data/drawn/kdef"),
    ],
)
def test_usual_places_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert find_source(DATASETS[name], "", tmp_path / "data") is None
    (tmp_path / place).mkdir(parents=True)
    assert find_source(DATASETS[name], "", tmp_path / "data") == tmp_path / place


@pytest.mark.parametrize("name", ["raf", "kdef", "wikimedia"])
def test_an_absent_set_tells_places_how_to_obtain_it_and_what_works_without(tmp_path: Path, name: str) -> None:
    error = missing_download(DATASETS[name], tmp_path)
    assert isinstance(error, DataError)
    message = str(error)
    parts = [DATASETS[name].title, *map(str, DATASETS[name].default_paths(tmp_path)), DATASETS[name].instructions]
    assert all(part in message for part in [*parts, "source=", "dataset=drawn"])
    assert "\n" not in message


def test_a_usual_place_that_may_not_be_entered_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", refused)
    assert find_source(DATASETS["raf"], "", tmp_path) is None
    with pytest.raises(DataError, match=r"cannot be read: .*Permission denied"):
        find_source(DATASETS["raf"], str(tmp_path), tmp_path)


@pytest.mark.parametrize("option", ["~nobody-of-this-name/data", "n" * 300, "zero\0byte"])
def test_a_source_that_cannot_be_is_refused(option: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        find_source(DATASETS["raf"], option, tmp_path)


def test_sets_of_ones_own_are_known_under_their_data_root(tmp_path: Path) -> None:
    write_record(tmp_path, OwnSet("mine", str(tmp_path), terms="for my lab"))
    raf, mine = resolve_datasets("raf+mine", tmp_path)
    assert (raf.name, mine.name, mine.terms) == ("raf", "mine", "mine: for my lab")
    with pytest.raises(ConfigError, match="unknown data set 'mine'"):
        resolve_datasets("mine", tmp_path / "other")
    with pytest.raises(ConfigError, match="did you mean 'mine'"):
        resolve_datasets("min", tmp_path)
    with pytest.raises(DataError, match=r"mine is not prepared under .*: run prepare with dataset=mine"):
        resolve_prepared("mine", tmp_path)


def test_a_set_of_ones_own_never_passes_for_a_known_one_of_its_name(tmp_path: Path) -> None:
    # As if this version were the first that knows JAFFE.
    write_record(tmp_path, OwnSet("jaffe", str(tmp_path)))
    for resolve in (resolve_datasets, resolve_prepared):
        with pytest.raises(DataError, match=r"'jaffe' is a set of your own, and now a known set as well: prepare it"):
            resolve("raf+jaffe" if resolve is resolve_datasets else "jaffe", tmp_path)
    (raf,) = resolve_datasets("raf", tmp_path)
    assert raf is DATASETS["raf"]


def test_names_are_put_in_the_registrys_order_and_others_last() -> None:
    assert in_order(["wikimedia", "zebra", "raf", "mine", "raf"]) == ["raf", "wikimedia", "mine", "zebra"]
    assert expand_aliases("raf_basic+mine+raf") == ["raf", "mine"]


@pytest.mark.parametrize("name", ["raf", "drawn", "folder", "prepared", "validation", "", "Mine", "a b", "-x"])
def test_names_that_a_set_of_ones_own_cannot_have(name: str) -> None:
    with pytest.raises(ConfigError):
        check_own_name(name)


def test_a_table_is_a_source_only_of_sets_that_take_one(tmp_path: Path) -> None:
    table = tmp_path / "faces.csv"
    table.write_text("path,label\n")
    assert find_source(OwnSet("mine", "").dataset(), str(table), tmp_path) == table
    with pytest.raises(DataError, match="neither a folder nor"):
        find_source(DATASETS["raf"], str(table), tmp_path)
