from urllib.parse import urlsplit

import pytest

from fer.models.backbones import IMAGENET_MEAN, IMAGENET_STD, classification_archs
from fer.models.catalogue import CATALOGUE, Entry

EVERY_ENTRY = pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)


def test_the_starting_points_of_2021_are_there():
    assert {"swav-imagenet", "swav-imagenet-official", "simclr-imagenet", "simclr-faces", "simsiam-faces"} == {
        *CATALOGUE
    }


@EVERY_ENTRY
def test_an_entry_says_all_a_user_must_know(entry: Entry):
    assert entry.arch in classification_archs()
    assert urlsplit(entry.address).scheme == "https"
    assert entry.terms and entry.trained_on and entry.note and entry.prefixes
    assert len(entry.mean) == len(entry.std) == 3
    assert all(0 <= mean < 1 and 0 < std <= 1 for mean, std in zip(entry.mean, entry.std, strict=True))
    assert entry.sha256 == "" or len(bytes.fromhex(entry.sha256)) == 32


def test_no_two_entries_share_a_file():
    assert len({entry.file for entry in CATALOGUE.values()}) == len(CATALOGUE)
    assert len({entry.address for entry in CATALOGUE.values()}) == len(CATALOGUE)


@EVERY_ENTRY
def test_non_commercial_terms_are_never_left_out(entry: Entry):
    assert "NC" in entry.terms or "non-commercial" in entry.terms


@EVERY_ENTRY
def test_imagenet_entries_have_imagenets_pixels_and_the_others_say_their_doubt(entry: Entry):
    if "imagenet" in entry.name:
        assert (entry.mean, entry.std) == (IMAGENET_MEAN, IMAGENET_STD)
    else:
        assert "unknown" in entry.note


@EVERY_ENTRY
def test_files_lie_where_torchvision_keeps_its_own(entry: Entry, cached):
    assert entry.place == cached / entry.file


def test_names_lose_their_prefix_and_the_others_stay():
    state = {"online_network.encoder.conv1.weight": 1, "target_network.encoder.conv1.weight": 2, "predictor.bias": 3}
    renamed = CATALOGUE["simsiam-faces"].renamed(state)
    assert renamed == {"conv1.weight": 1, "target_network.encoder.conv1.weight": 2, "predictor.bias": 3}
    assert CATALOGUE["simsiam-faces"].renamed({"fc.bias": 1}) == {"fc.bias": 1}
