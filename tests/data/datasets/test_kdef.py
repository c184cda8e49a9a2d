from collections import Counter
from pathlib import Path

import pytest

from fer.data.datasets.base import Candidate
from fer.data.datasets.kdef import ANGLE_GROUP, KDEF, SPLIT_OF, TEST_PEOPLE, VALIDATION_PEOPLE, scan
from fer.data.prepare import prepare
from fer.data.prepared import Prepared
from fer.errors import DataError

CODES = {
    "AF": "fear",
    "AN": "anger",
    "DI": "disgust",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
TRAIN_PEOPLE = tuple(person for person, split in SPLIT_OF.items() if split == "train")
SPLITS = (TRAIN_PEOPLE, VALIDATION_PEOPLE, TEST_PEOPLE)


def place(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def only(folder: Path, name: str) -> Candidate:
    (found,) = scan(place(folder, f"KDEF/{name[:4]}/{name}")).candidates
    return found


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("prefix", ["AF", "BM"])
def test_the_expression_is_characters_5_and_6(tmp_path: Path, prefix: str, code: str) -> None:
    found = only(tmp_path, f"{prefix}07{code}S.JPG")
    assert found.expression == CODES[code]
    assert (found.session, found.person, found.angle) == (prefix[0], f"{prefix[1]}07", "S")


@pytest.mark.parametrize("angle", ["FL", "HL", "S", "HR", "FR"])
def test_the_angle_is_what_follows(tmp_path: Path, angle: str) -> None:
    assert only(tmp_path, f"AF01AF{angle}.JPG").angle == angle


def test_angles_fall_into_three_groups() -> None:
    assert Counter(ANGLE_GROUP.values()) == {"frontal": 1, "half-profile": 2, "full-profile": 2}
    assert ANGLE_GROUP["S"] == "frontal"
    assert ANGLE_GROUP["FL"] == ANGLE_GROUP["FR"] == "full-profile"


def test_both_sessions_show_one_person(tmp_path: Path) -> None:
    found = scan(place(tmp_path, "KDEF/AF01/AF01NES.JPG", "KDEF/BF01/BF01NES.JPG", "KDEF/AM01/AM01NES.JPG")).candidates
    assert [(item.session, item.person) for item in found] == [("A", "F01"), ("A", "M01"), ("B", "F01")]
    assert found[0].split == found[2].split
    assert found[0].name != found[2].name


@pytest.mark.parametrize(
    ("wrong", "right", "expression", "angle"),
    [("AF31V.JPG", "AF31SAHL.JPG", "sadness", "HL"), ("AM31H.JPG", "AM31SUHR.JPG", "surprise", "HR")],
)
def test_the_two_wrong_names_are_repaired(tmp_path: Path, wrong: str, right: str, expression: str, angle: str) -> None:
    found = only(tmp_path, wrong)
    assert (found.name, found.expression, found.angle) == (right, expression, angle)
    assert wrong in found.notes
    assert found.source_name == f"{wrong[:4]}/{wrong}"


def test_the_suffix_may_be_lower_case(tmp_path: Path) -> None:
    found = only(tmp_path, "AF01HAS.jpg")
    assert (found.name, found.expression) == ("AF01HAS.JPG", "happiness")
    assert found.path.name == "AF01HAS.jpg"


@pytest.mark.parametrize(
    "name", ["AF01XXS.JPG", "AF01HAX.JPG", "AF36HAS.JPG", "AF00HAS.JPG", "AF01HAS.PNG", "Thumbs.db", "AF01HAS (1).JPG"]
)
def test_foreign_names_are_left_out_with_a_reason(tmp_path: Path, name: str) -> None:
    found = scan(place(tmp_path, "KDEF/AF01/AF01NES.JPG", f"KDEF/AF01/{name}"))
    assert [item.name for item in found.candidates] == ["AF01NES.JPG"]
    ((left_out, reason),) = found.left_out
    assert left_out == f"AF01/{name}"
    assert "AF01AFFL.JPG" in reason


def test_backups_are_ignored(tmp_path: Path) -> None:
    found = scan(place(tmp_path, "KDEF/AF01/AF01NES.JPG", "KDEF/AF01/AF01NES.JPG~"))
    assert len(found.candidates) == 1
    assert found.left_out == []


@pytest.mark.parametrize("base", ["KDEF_and_AKDEF/KDEF", "KDEF", "."])
def test_its_folder_or_those_above_and_never_the_averages(tmp_path: Path, base: str) -> None:
    place(tmp_path / base, "AF01/AF01NES.JPG")
    place(tmp_path / base / ".." / "AKDEF", "AFNES.JPG", "AF01/AF01HAS.JPG")
    found = scan(tmp_path)
    assert [item.path.resolve() for item in found.candidates] == [(tmp_path / base / "AF01/AF01NES.JPG").resolve()]
    assert found.left_out == []


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not KDEF.*AF01AFFL\.JPG"):
        scan(place(tmp_path, "AKDEF/AFNES.JPG", "holiday/me.jpg"))


def test_the_split_covers_all_70_people_once() -> None:
    assert [len(people) for people in SPLITS] == [50, 6, 14]
    everyone = [person for people in SPLITS for person in people]
    assert sorted(everyone) == [f"{sex}{number:02d}" for sex in "FM" for number in range(1, 36)]


def test_the_split_never_changes() -> None:
    assert " ".join(TEST_PEOPLE) == "F03 F09 F14 F20 F25 F31 F34 M02 M08 M13 M19 M24 M31 M33"
    assert " ".join(VALIDATION_PEOPLE) == "F06 F17 F28 M05 M16 M27"


def test_the_split_balances_the_sexes() -> None:
    for people in SPLITS:
        sexes = Counter(person[0] for person in people)
        assert sexes["F"] == sexes["M"]


def test_the_table_of_splits_agrees_and_knows_no_one_else() -> None:
    for name, people in zip(("train", "validation", "test"), SPLITS, strict=True):
        assert {SPLIT_OF[person] for person in people} == {name}
    assert len(SPLIT_OF) == 70


def test_the_complete_set_has_4900_files() -> None:
    assert sum(sum(counts.values()) for counts in KDEF.expected_counts.values()) == 4900
    assert sum(KDEF.expected_counts["test"].values()) == 14 * 70
    assert KDEF.person_split
    assert not KDEF.showable


def test_a_prepared_tree_leaves_the_black_picture_out_and_keeps_people_apart(
    prepared: tuple[Path, dict[str, Prepared]],
) -> None:
    done = prepared[1]["kdef"]
    assert done.left_out == (("BF31/BF31AFFL.JPG", "entirely black"),)
    assert Counter(row.person for row in done.manifest.images) == {"F01": 70, "F06": 70, "M31": 70, "F31": 69}
    split = {row.person: row.split for row in done.manifest.images}
    assert split == {"F01": "train", "F06": "validation", "M31": "test", "F31": "test"}
    repaired = {Path(row.path).name: row.expression for row in done.manifest.images if row.notes}
    assert repaired == {"AF31SAHL.JPG": "sadness", "AM31SUHR.JPG": "surprise"}
    assert "test fear: 19 of 140" in done.differences


def test_wrong_names_only_are_no_usable_picture(tmp_path: Path) -> None:
    place(tmp_path / "download", "KDEF/AF01/one.jpg", "KDEF/AF01/two.jpg")
    with pytest.raises(DataError, match=r"no usable picture of KDEF; .*: AF01/one\.jpg: its name is not of the form"):
        prepare(KDEF, tmp_path / "download", tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".locks"]
