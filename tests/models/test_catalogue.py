import errno
import hashlib
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from fer.errors import ModelError
from fer.models.backbones import IMAGENET_MEAN, IMAGENET_STD, classification_archs
from fer.models.catalogue import CATALOGUE, Entry, download
from fer.utils import downloads

EVERY_ENTRY = pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)


def test_the_starting_points_of_2021_and_the_usual_later_ones_are_there():
    of_2021 = {"swav-imagenet", "swav-imagenet-official", "simclr-imagenet", "simclr-faces", "simsiam-faces"}
    imagenet = {"simsiam-imagenet", "vicreg-imagenet", "barlow-imagenet", "dino-imagenet"}
    faces = {"faces-vggface", "faces-vggface-1m", "faces-flickr"}
    assert of_2021 | imagenet | faces == {*CATALOGUE}


@EVERY_ENTRY
def test_an_entry_says_all_a_user_must_know(entry: Entry):
    assert entry.arch in classification_archs()
    assert urlsplit(entry.address).scheme == "https"
    assert entry.terms and entry.trained_on and entry.note
    assert len(entry.mean) == len(entry.std) == 3
    assert all(0 <= mean < 1 and 0 < std <= 1 for mean, std in zip(entry.mean, entry.std, strict=True))
    assert entry.sha256 == "" or 5 <= len(bytes.fromhex(entry.sha256)) <= 32


def test_no_two_entries_share_a_file():
    assert len({entry.file for entry in CATALOGUE.values()}) == len(CATALOGUE)
    assert len({entry.address for entry in CATALOGUE.values()}) == len(CATALOGUE)


@EVERY_ENTRY
def test_non_commercial_terms_are_never_left_out(entry: Entry):
    assert "NC" in entry.terms or "non-commercial" in entry.terms


@EVERY_ENTRY
def test_entries_have_imagenets_pixels_or_say_their_doubt(entry: Entry):
    if "imagenet" in entry.name:
        assert (entry.mean, entry.std) == (IMAGENET_MEAN, IMAGENET_STD)
    elif "unknown" not in entry.note:
        assert entry.mean == IMAGENET_MEAN
        assert entry.std == pytest.approx(IMAGENET_STD, abs=0.0011), "FRL's code has 0.228 for 0.229"


@EVERY_ENTRY
def test_files_lie_where_torchvision_keeps_its_own(entry: Entry, cached):
    assert entry.path == cached / entry.file


CONTENT = np.random.default_rng(0).bytes(5000)
OTHER = np.random.default_rng(1).bytes(7000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "w.pth"


def left(place: Path) -> set[str]:
    """The files beside the lock."""
    return {path.name for path in place.parent.iterdir() if not path.name.endswith(".lock")}


def interrupted(served, place: Path, size: int = 1000) -> None:
    """Leave a download that its server broke off after `size` bytes and did not continue."""
    served.breaks = [size, 0]
    with pytest.raises(ModelError, match="broke off"):
        download(served.address, place)
    assert served.breaks == []
    served.asked.clear()


def test_a_file_lands_whole_and_alone(served, place):
    served.content = CONTENT
    download(served.address, place, DIGEST)
    assert place.read_bytes() == CONTENT
    assert left(place) == {"w.pth"}


def test_a_file_that_is_there_is_not_asked_for(served, place):
    place.parent.mkdir()
    place.write_bytes(CONTENT)
    download(served.address, place, DIGEST)
    assert served.asked == []


def test_what_a_server_breaks_off_is_continued(served, place):
    served.content, served.breaks = CONTENT, [1000, 500]
    download(served.address, place, DIGEST)
    assert served.asked == [None, "bytes=1000-", "bytes=1500-"]
    assert place.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"'])
def test_what_an_earlier_call_left_is_continued(served, place, etag):
    served.content, served.etag, served.modified = CONTENT, etag, "Wed, 21 Oct 2015 07:28:00 GMT"
    interrupted(served, place)
    assert left(place) == {"w.pth.part", "w.pth.part.version"}
    download(served.address, place)
    assert served.asked == ["bytes=1000-"]
    assert place.read_bytes() == CONTENT
    assert left(place) == {"w.pth"}


def test_a_server_that_sends_the_whole_again_is_believed(served, place):
    served.content, served.ranges, served.breaks = CONTENT, False, [1000]
    download(served.address, place)
    assert served.asked == [None, "bytes=1000-"]
    assert place.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_begun_again(served, place):
    served.content = CONTENT
    interrupted(served, place)
    served.content, served.etag = OTHER, '"2"'
    download(served.address, place)
    assert place.read_bytes() == OTHER


def test_without_a_mark_of_the_version_nothing_is_appended(served, place):
    served.content, served.etag = CONTENT, ""
    interrupted(served, place)
    served.content = OTHER
    download(served.address, place)
    assert served.asked == [None]
    assert place.read_bytes() == OTHER


def test_a_part_beyond_the_files_end_is_begun_again(served, place):
    served.content = OTHER
    interrupted(served, place, size=6000)
    served.content = CONTENT
    download(served.address, place, DIGEST)
    assert served.asked == ["bytes=6000-", None]
    assert place.read_bytes() == CONTENT


def test_a_wrong_digest_leaves_nothing(served, place):
    served.content = OTHER
    with pytest.raises(ModelError, match=f"sha256 is .*not {DIGEST}"):
        download(served.address, place, DIGEST)
    assert left(place) == set()


@pytest.mark.parametrize(("content", "fault"), [(OTHER, "sha256"), (b"<!DOCTYPE html><p>Sign in", "web page")])
def test_a_file_put_there_by_hand_is_verified_and_kept(served, place, content, fault):
    place.parent.mkdir()
    place.write_bytes(content)
    with pytest.raises(ModelError, match=f"damaged .*{fault}.*delete it"):
        download(served.address, place, DIGEST)
    assert place.read_bytes() == content
    assert served.asked == []


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_instead_of_the_file_is_recognised(served, place, kind):
    served.content, served.kind = b"\n<!DOCTYPE html><html><title>Sign in</title></html>", kind
    with pytest.raises(ModelError, match=r"web page.*browser") as error:
        download(served.address, place)
    assert str(place) in str(error.value)
    assert left(place) == set()


def test_without_a_server_the_file_its_address_and_its_place_are_named(served, place):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/w.pth"
        with pytest.raises(ModelError, match=r"w\.pth .*cannot be downloaded.*scratch") as error:
            download(address, place)
    assert f"put {address} at {place}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_refusal_is_not_asked_twice_and_a_busy_server_is(served, place):
    served.content, served.refusals = CONTENT, [404, 404]
    with pytest.raises(ModelError, match="404"):
        download(served.address, place)
    assert len(served.asked) == 1
    served.refusals = [503]
    download(served.address, place)
    assert place.read_bytes() == CONTENT


def test_a_cookie_given_at_a_redirection_is_shown_again(served, place):
    served.content, served.cookie = CONTENT, True
    download(served.address, place)
    assert place.read_bytes() == CONTENT


def test_a_full_disk_is_one_sentence_and_gets_its_room_back(served, place, monkeypatch):
    class Full(downloads.tqdm):
        def update(self, n=1):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads, "tqdm", Full)
    served.content = CONTENT
    with pytest.raises(ModelError, match=r"No space left.*TORCH_HOME") as error:
        download(served.address, place)
    assert "\n" not in str(error.value)
    assert left(place) == set()
    assert len(served.asked) == 1


def test_progress_is_shown(served, place, capsys):
    served.content = CONTENT
    download(served.address, place)
    assert "w.pth: 100%" in capsys.readouterr().err


def test_several_at_a_time_download_once(served, place):
    served.content = CONTENT * 400
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: download(served.address, place), range(4)))
    assert len(served.asked) == 1
    assert place.read_bytes() == CONTENT * 400
