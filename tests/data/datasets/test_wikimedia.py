import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fer.data.datasets import wikimedia
from fer.data.datasets.wikimedia import (
    COMMIT,
    FILES,
    FOLDER,
    LIST,
    WIKIMEDIA,
    differences_from_list,
    download_set,
    listed_files,
    scan,
)
from fer.data.images import inspect
from fer.data.prepare import prepare
from fer.data.prepared import Prepared
from fer.errors import DataError
from fer.expressions import EXPRESSIONS, code_of
from fer.utils import http
from tests.data.datasets.repository import Repository, drawn_repository, served
from tests.paths import REAL_FACES


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    with served(drawn_repository(tmp_path / "drawn"), monkeypatch) as serving:
        yield serving


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kept(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if path.name != ".locks"}


def test_the_list_names_84_pictures_12_of_each_class() -> None:
    listed = listed_files()
    assert Counter(item.file[0] for item in listed) == dict.fromkeys("1234567", 12)
    assert len({item.sha256 for item in listed}) == len({item.pixels for item in listed}) == 84
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for item in listed for digest in (item.sha256, item.pixels))
    assert {max(item.width, item.height) for item in listed} >= {224}
    assert all(item.title.startswith("File:") or item.flickr_id for item in listed)


def test_the_set_comes_from_a_fixed_commit() -> None:
    assert re.fullmatch("[0-9a-f]{40}", COMMIT)
    assert FILES.endswith(f"/{COMMIT}/datasets/test/wikimedia_commons_emotions")


def test_the_set_is_obtained_whole_and_alone(repository: Repository, root: Path) -> None:
    assert download_set(root) == root / FOLDER
    assert contents(root / FOLDER) == repository.files
    assert kept(root) == {FOLDER}


def test_what_is_there_is_not_asked_for_again(repository: Repository, root: Path) -> None:
    download_set(root)
    repository.asked.clear()
    assert download_set(root) == root / FOLDER
    assert repository.asked == []


@pytest.mark.parametrize("code", [404, 503])
def test_a_broken_off_attempt_leaves_no_set_and_is_continued(repository: Repository, root: Path, code: int) -> None:
    names = list(repository.files)
    repository.refused = {names[5]: code}
    with pytest.raises(DataError, match=f"{code}"):
        download_set(root)
    assert not (root / FOLDER).exists()
    repository.refused = {}
    repository.asked.clear()
    download_set(root)
    assert repository.asked == names[5:]
    assert contents(root / FOLDER) == repository.files


def test_another_file_than_the_listed_one_is_refused(repository: Repository, root: Path) -> None:
    names = list(repository.files)
    right = repository.files[names[3]]
    repository.files[names[3]] = repository.files[names[4]]
    with pytest.raises(DataError, match=r"its sha256 is .*source=") as caught:
        download_set(root)
    assert "\n" not in str(caught.value)
    assert not (root / FOLDER).exists()
    repository.files[names[3]] = right
    assert contents(download_set(root)) == repository.files


def test_a_file_damaged_between_two_attempts_is_brought_anew(repository: Repository, root: Path) -> None:
    names = list(repository.files)
    repository.refused = {names[-1]: 404}
    with pytest.raises(DataError):
        download_set(root)
    (root / f".{FOLDER}" / names[0]).write_bytes(b"damaged")
    repository.refused = {}
    assert contents(download_set(root)) == repository.files


def test_two_at_a_time_obtain_it_once(repository: Repository, root: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(download_set, [root, root])) == [root / FOLDER] * 2
    assert Counter(repository.asked) == dict.fromkeys(repository.files, 1)


def test_without_a_network_address_place_and_cure_are_one_sentence(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "RETRIES", 1)
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/files"
        monkeypatch.setattr(wikimedia, "FILES", address)
        with pytest.raises(DataError, match=r"cannot be downloaded .*source=") as caught:
            download_set(root)
    message = str(caught.value)
    assert all(part in message for part in (address, str(root / FOLDER), wikimedia.REPOSITORY, COMMIT[:12]))
    assert "\n" not in message


def test_a_full_disk_is_said_as_such(repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wikimedia, "download_file", full)
    with pytest.raises(DataError, match="no space left"):
        download_set(root)


def test_a_set_is_compared_by_its_pixels(repository: Repository, root: Path) -> None:
    pictures = {name: download_set(root) / name for name in repository.files}
    assert differences_from_list(LIST, pictures) == []
    names = list(pictures)
    pictures[names[0]].write_bytes(pictures[names[1]].read_bytes())
    pictures[names[2]].write_bytes(b"no picture")
    pictures["1/more.jpg"] = pictures.pop(names[4])
    assert differences_from_list(LIST, pictures) == [
        f"not the pixels of the 2021 set: 2 ({names[0]}, {names[2]})",
        "not in the 2021 set: 1 (1/more.jpg)",
        f"missing of the 2021 set: 1 ({names[4]})",
    ]


@pytest.mark.skipif(not REAL_FACES.is_dir(), reason=f"the real Wikimedia set is not at {REAL_FACES}")
def test_the_shared_copies_have_the_listed_pixels_though_not_the_listed_bytes() -> None:
    pictures = {item.file: REAL_FACES / item.file for item in listed_files()}
    assert differences_from_list(LIST, pictures) == []
    facts = {name: inspect(path) for name, path in pictures.items()}
    assert [(item.file, item.width, item.height) for item in listed_files()] == [
        (name, found.width, found.height) for name, found in facts.items()
    ]
    assert not [item.file for item in listed_files() if facts[item.file].sha256 == item.sha256]


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_folders_1_to_7_are_the_expressions_of_a_test_set(tmp_path: Path) -> None:
    found = scan(touched(tmp_path, *(f"{code}/{code}.jpg" for code in range(1, 8)))).candidates
    assert [(item.expression, item.name, item.split) for item in found] == [
        (expression, f"{code_of(expression)}.jpg", "test") for expression in EXPRESSIONS
    ]


@pytest.mark.parametrize("inside", [".", "wikimedia_commons_emotions", "test/wikimedia_commons_emotions"])
def test_its_folder_or_one_that_holds_it(tmp_path: Path, inside: str) -> None:
    touched(tmp_path / inside, "3/a.jpg", "7/b.jpg")
    assert [item.source_name for item in scan(tmp_path).candidates] == ["3/a.jpg", "7/b.jpg"]


def test_backups_hidden_files_and_other_folders_are_ignored(tmp_path: Path) -> None:
    touched(tmp_path, "1/a.jpg", "1/a.jpg~", "1/.DS_Store", "8/b.jpg", "0/c.jpg", "1/deeper/d.jpg", "README.md")
    found = scan(tmp_path)
    assert [item.source_name for item in found.candidates] == ["1/a.jpg"]
    assert found.left_out == []


def test_equal_names_in_two_classes_are_two_pictures(tmp_path: Path) -> None:
    found = scan(touched(tmp_path, "1/a.jpg", "2/a.jpg")).candidates
    assert [(item.name, item.expression) for item in found] == [("a.jpg", "surprise"), ("a.jpg", "fear")]


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folders 1 to 7"):
        scan(touched(tmp_path, "surprise/a.jpg"))


def test_every_mode_and_name_of_the_drawn_tree_is_prepared(prepared: tuple[Path, dict[str, Prepared]]) -> None:
    done = prepared[1]["wikimedia"]
    assert done.left_out == ()
    assert done.manifest.counts() == {"test": dict.fromkeys(EXPRESSIONS, 2)}
    notes = Counter(row.notes for row in done.manifest.images)
    assert {"", "CMYK", "L", "RGBA", "rotated by EXIF"} == set(notes)
    assert notes["CMYK"] == notes["rotated by EXIF"] == 1


@pytest.mark.skipif(not REAL_FACES.is_dir(), reason=f"the real Wikimedia set is not at {REAL_FACES}")
def test_the_real_set_is_complete(tmp_path: Path) -> None:
    done = prepare(WIKIMEDIA, REAL_FACES, tmp_path)
    assert done.manifest.counts() == {"test": dict.fromkeys(EXPRESSIONS, 12)}
    assert len(done.manifest.images) == 84
    assert done.left_out == done.differences == ()
    assert max(max(row.width, row.height) for row in done.manifest.images) == 224
    assert "6/Sword_of_Anger.jpg" in {row.source_name for row in done.manifest.images}
