import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from fer.data.datasets.ckplus import CKPLUS, CONTEMPT, COUNTS, scan
from fer.data.prepare import prepare
from fer.errors import DataError
from fer.expressions import EXPRESSIONS
from tests.data.datasets.layouts import ckplus_classes, ckplus_sequences


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authors' layout; tests only read it."""
    return ckplus_sequences(tmp_path_factory.mktemp("ckplus") / "CK+")


@pytest.fixture
def own_sequences(sequences: Path, tmp_path: Path) -> Path:
    """The authors' layout, to damage."""
    return Path(shutil.copytree(sequences, tmp_path / "own"))


def test_the_peak_of_each_labelled_sequence_and_one_neutral_face_of_each_person(sequences, tmp_path) -> None:
    done = prepare(CKPLUS, sequences, tmp_path)
    assert done.manifest.counts() == {"test": dict.fromkeys(EXPRESSIONS, 2)}
    found = {(row.person, row.session, row.expression): row.source_name for row in done.manifest.images}
    assert found["S005", "001", "anger"] == "S005/001/S005_001_00000003.png"
    assert found["S005", "001", "neutral"] == "S005/001/S005_001_00000001.png"
    assert found["S010", "007", "surprise"] == "S010/007/S010_007_00000003.png"
    assert sorted(done.left_out) == [
        ("S005/002/S005_002_00000003.png", CONTEMPT),
        ("S010/002/S010_002_00000003.png", CONTEMPT),
    ]
    assert "test neutral: 2 of 118" in done.differences
    assert prepare(CKPLUS, sequences, tmp_path).reused


def test_the_archives_may_be_unpacked_side_by_side_or_all_be_packed_in_one(own_sequences, tmp_path) -> None:
    expected = prepare(CKPLUS, own_sequences, tmp_path / "plain").manifest.digest
    apart = tmp_path / "apart"
    (apart / "extended-cohn-kanade-images").mkdir(parents=True)
    (apart / "Emotion_labels").mkdir()
    (own_sequences / "cohn-kanade-images").rename(apart / "extended-cohn-kanade-images/cohn-kanade-images")
    (own_sequences / "Emotion").rename(apart / "Emotion_labels/Emotion")
    assert prepare(CKPLUS, apart, tmp_path / "apart-data").manifest.digest == expected
    packed = Path(shutil.make_archive(str(tmp_path / "ck"), "zip", apart))
    assert prepare(CKPLUS, packed, tmp_path / "packed-data").manifest.digest == expected


def test_the_neutral_face_may_begin_a_sequence_of_contempt(own_sequences) -> None:
    shutil.rmtree(own_sequences / "Emotion/S005/001")
    neutral = [item.source_name for item in scan(own_sequences).candidates if item.expression == "neutral"]
    assert neutral == ["S005/002/S005_002_00000001.png", "S010/001/S010_001_00000001.png"]


def test_of_the_cut_copy_the_last_frame_of_each_sequence_is_taken(tmp_path) -> None:
    done = prepare(CKPLUS, ckplus_classes(tmp_path / "ck"), tmp_path / "data")
    assert done.manifest.counts() == {"test": dict.fromkeys(EXPRESSIONS, 2) | {"neutral": 0}}
    assert all(row.source_name.endswith("_00000010.png") for row in done.manifest.images)
    assert {row.person for row in done.manifest.images} == {"S005", "S010"}
    reasons = Counter(reason for _, reason in done.left_out)
    assert reasons == {"not the peak, which is the last frame of its sequence": 28, CONTEMPT: 2}


def test_a_sequence_without_frames_is_left_out(own_sequences, tmp_path) -> None:
    shutil.rmtree(own_sequences / "cohn-kanade-images/S010/003")
    done = prepare(CKPLUS, own_sequences, tmp_path / "data")
    assert ("S010/003", "no frames of this labelled sequence") in done.left_out


def test_what_is_left_of_a_sequence_is_neither_its_peak_nor_its_beginning(own_sequences) -> None:
    images = own_sequences / "cohn-kanade-images"
    (images / "S010/003/S010_003_00000003.png").unlink()
    for first in images.glob("S005/*/*_00000001.png"):
        first.unlink()
    found = scan(own_sequences)
    lost = ("S010/003/S010_003_00000003.png", "the frame that the label names is missing")
    assert lost in found.left_out
    assert not [item for item in found.candidates if item.source_name.startswith("S010/003/")]
    # Of S005 the second frames would come first, half-way to the peak.
    assert [item.person for item in found.candidates if item.expression == "neutral"] == ["S010"]


@pytest.mark.parametrize("code", ["8.0000000e+00", "-1", "3.5", "happy", "", "nan", "inf"])
def test_an_unknown_code_is_refused_by_its_file(own_sequences, code: str) -> None:
    (own_sequences / "Emotion/S005/001/S005_001_00000003_emotion.txt").write_text(code)
    with pytest.raises(
        DataError, match=rf"S005_001_00000003_emotion\.txt: '{re.escape(code)}' is no code of an emotion"
    ):
        scan(own_sequences)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("Emotion", r"has CK\+'s images but no labels: unpack Emotion_labels\.zip"),
        ("cohn-kanade-images", r"has CK\+'s labels but no images: unpack extended-cohn-kanade-images\.zip"),
        ("Emotion/S005", ""),
    ],
)
def test_half_of_the_set_says_what_is_missing(own_sequences, lost: str, message: str) -> None:
    shutil.rmtree(own_sequences / lost)
    if message:
        with pytest.raises(DataError, match=message):
            scan(own_sequences)
    else:
        assert {item.person for item in scan(own_sequences).candidates} == {"S010"}


def test_labels_of_other_sequences_are_refused(own_sequences, tmp_path) -> None:
    (own_sequences / "cohn-kanade-images").rename(own_sequences / "other")
    (own_sequences / "cohn-kanade-images").mkdir()
    with pytest.raises(DataError, match=r"has no label such as .* of a sequence in"):
        scan(own_sequences)


def test_other_folders_of_classes_are_not_taken_for_it(tmp_path) -> None:
    (tmp_path / "anger").mkdir()
    Image.new("L", (48, 48), 200).save(tmp_path / "anger/im0.png")
    with pytest.raises(DataError, match=r"is not CK\+: it has neither cohn-kanade-images and Emotion nor folders"):
        scan(tmp_path)


def test_the_published_counts_are_327_sequences_without_18_of_contempt_and_118_people() -> None:
    assert sum(COUNTS.values()) - COUNTS["neutral"] == 327 - 18
    assert COUNTS["neutral"] == 118
