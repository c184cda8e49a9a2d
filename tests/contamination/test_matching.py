from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from fer.contamination import correlation
from fer.contamination.correlation import FLAT, Contents, search, unit
from fer.contamination.matching import COPY, find_matches
from fer.contamination.signatures import image_signatures, whole_images
from fer.data.datasets.drawn.parameters import Person, random_actions, wild_scene
from fer.data.datasets.drawn.render import render
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.manifest import Manifest, read_manifest
from fer.data.prepare import prepare
from fer.utils.paths import manifest_path, resolve_data_root
from tests.contamination.copies import cropped, darkened, known, recompressed, texture, whole
from tests.paths import REAL_FACES

torch = pytest.importorskip("torch")
OTHERS = [texture(seed) for seed in range(100, 140)]

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed": recompressed,
    "darkened": lambda picture: recompressed(darkened(picture)),
    "smaller": lambda picture: picture.resize((61, 61)),
    "mirrored": lambda picture: recompressed(ImageOps.mirror(picture)),
    "shifted": lambda picture: cropped(picture, 0.93, 1, 0),
}


def pairs(found) -> set[tuple[str, str, str]]:
    return {(match.test, match.training, match.kind) for match in found}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others_without_false_alarms(change: str) -> None:
    original = texture(0, (100, 100))
    test = known("raf", [texture(1), original, texture(2)])
    training = known("ferplus", [*OTHERS[:17], CHANGES[change](original), *OTHERS[17:]])
    assert pairs(find_matches(test, training)) == {("raf/1.png", "ferplus/17.png", "near-copy")}


@pytest.mark.parametrize("share", [0.55, 0.7, 0.84])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_training_picture_cut_from_a_test_picture_is_found(share: float, mirrored: bool) -> None:
    """As FER2013's fer0024338.png is cut from 84 % of Sword_of_Anger.jpg."""
    test = [texture(1), texture(0)]
    content = recompressed(darkened(cropped(test[1], share)))
    training = known("ferplus", [*OTHERS, ImageOps.mirror(content) if mirrored else content])
    (match,) = find_matches(known("wikimedia", test), training, whole(test))
    assert (match.test, match.training, match.kind) == ("wikimedia/1.png", "ferplus/40.png", "near-copy")
    assert COPY < match.correlation <= 1


@pytest.mark.parametrize("share", [0.72, 0.84])
def test_a_test_picture_cut_from_a_training_picture_is_found(share: float) -> None:
    container = texture(0, (100, 100))
    test = [texture(1), recompressed(cropped(container, share, side=90))]
    found = find_matches(known("wikimedia", test), known("raf", [*OTHERS, container]), whole(test))
    assert pairs(found) == {("wikimedia/1.png", "raf/40.png", "near-copy")}


def test_a_drawn_face_cut_out_as_fer2013s_picture_was_correlates_most_of_all_drawn_faces() -> None:
    rng = np.random.default_rng(0)

    def face(size: tuple[int, int]) -> Image.Image:
        return render(Person(rng), random_actions(rng, "anger"), wild_scene(rng), size, rng).convert("L")

    original = face((219, 224))
    training = known("ferplus", [face((48, 48)) for _ in range(60)] + [recompressed(cropped(original, 0.84))])
    found = find_matches(known("wikimedia", [original]), training, whole([original]))
    best = max(found, key=lambda match: match.correlation or 0)
    assert best.training == "ferplus/60.png" and best.correlation > 0.97


def test_equal_pixels_are_identical_whatever_the_file_and_flat_pictures_resemble_nothing() -> None:
    flat, nearly = Image.new("L", (48, 48), 90), Image.new("L", (48, 48), 140)
    nearly.putpixel((20, 20), 141)
    test = [flat, texture(0)]
    found = find_matches(
        known("raf", test), known("ferplus", [nearly, flat, texture(0), Image.new("L", (48, 48))]), whole(test)
    )
    assert pairs(found) == {("raf/0.png", "ferplus/1.png", "identical"), ("raf/1.png", "ferplus/2.png", "identical")}
    assert {match.correlation for match in found} == {1.0}


def test_noise_resembles_nothing_and_an_empty_side_holds_nothing() -> None:
    rng = np.random.default_rng(1)
    noise = [Image.fromarray(rng.integers(0, 256, (48, 48), dtype=np.uint8)) for _ in range(60)]
    assert find_matches(known("raf", noise[:30]), known("ferplus", noise[30:]), whole(noise[:30])) == []
    assert (
        find_matches(known("raf", []), known("ferplus", noise))
        == find_matches(known("raf", noise), known("ferplus", []))
        == []
    )


def test_one_image_sets_are_compared() -> None:
    found = find_matches(known("raf", [texture(0)]), known("ferplus", [recompressed(texture(0))]), whole([texture(0)]))
    assert pairs(found) == {("raf/0.png", "ferplus/0.png", "near-copy")}


def test_a_person_on_both_sides_of_kdef_is_a_match_and_a_namesake_of_another_set_is_not() -> None:
    people = ["F01", "M02", "", "F01"]
    test = known("kdef", [texture(seed) for seed in range(4)], people)
    training = known("kdef", OTHERS[:4], ["M07", "F01", "F01", ""])
    assert find_matches(test, training) == find_matches(test, training, near_copies=False)
    assert pairs(find_matches(test, training)) == {(f"kdef/{n}.png", "kdef/1.png", "person") for n in (0, 3)}
    assert find_matches(test, replace(training, dataset="drawn-kdef")) == []


def test_what_is_found_does_not_depend_on_how_the_work_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    test = [texture(seed) for seed in range(6)]
    copies = [recompressed(cropped(picture, 0.6 + 0.05 * number)) for number, picture in enumerate(test)]
    training = known("ferplus", [*OTHERS, *copies])

    def search_all():
        return find_matches(known("wikimedia", test), training, whole(test)), find_matches(
            known("wikimedia", copies), training
        )

    usual = search_all()
    assert len(usual[0]) >= 6 and len(usual[1]) >= 6
    for windows, contents, close in ((1, 7, 1), (10**6, 10**6, 10**6)):
        for name, value in (("WINDOWS_AT_ONCE", windows), ("CONTENTS_AT_ONCE", contents), ("PAIRS_AT_ONCE", close)):
            monkeypatch.setattr(correlation, name, value)
        assert search_all() == usual


def test_the_correlation_of_a_whole_picture_is_at_least_numpys() -> None:
    picture = np.asarray(texture(0, (48, 48)))
    changed = np.clip(picture + np.random.default_rng(0).normal(0, 12, picture.shape), 0, 255).astype(np.uint8)
    (hit,) = search(torch.from_numpy(changed)[None], contents_of(picture), (16,), 0.9)
    plain = np.corrcoef(picture.ravel(), changed.ravel())[0, 1]
    assert plain - 1e-5 <= hit.correlation < plain + 0.01
    assert (hit.container, hit.content) == (0, 0)


def contents_of(picture: np.ndarray) -> Contents:
    small = np.array(Image.fromarray(picture).resize((16, 16), Image.Resampling.BILINEAR))
    return Contents(torch.tensor(small)[None], torch.tensor(picture)[None])


def test_windows_are_normalised_and_flat_ones_vanish() -> None:
    values = torch.tensor([[10.0, 20.0, 30.0, 40.0], [7.0, 7.0, 7.0, 7.0], [7.0, 7.0, 7.0, 7.0 + FLAT]])
    normal = unit(values)
    assert torch.allclose(normal[0], (values[0] - 25) / np.sqrt(500)) and not normal[1:].any()


def ferplus_root() -> Path:
    """Return the data root that holds a prepared FER+, or skip."""
    root = resolve_data_root()
    if not manifest_path(root, "ferplus").is_file() or not REAL_FACES.is_dir():
        pytest.skip(f"needs FER+ prepared under {root} (set FER_DATA) and the free faces at ../shared/data")
    return root


def test_sword_of_anger_is_found_in_ferplus_and_no_other_free_face(tmp_path: Path) -> None:
    root = ferplus_root()
    train = read_manifest(manifest_path(root, "ferplus")).of("train")
    own = next(row for row in train.images if row.source_name.endswith("fer0024338.png"))
    some = Manifest("ferplus", (own, *(row for row in train.images[:: len(train.images) // 2000] if row != own)))
    for part in ("train", "test"):
        if (root / part).is_dir():
            (tmp_path / part).mkdir()
            (tmp_path / part / "ferplus").symlink_to(root / part / "ferplus")
    test = prepare(WIKIMEDIA, REAL_FACES, tmp_path).manifest
    found = find_matches(
        image_signatures(test, tmp_path), image_signatures(some, tmp_path), whole_images(test, tmp_path)
    )
    assert [(Path(match.test).name, Path(match.training).name) for match in found] == [
        ("Sword_of_Anger.jpg", "fer0024338.png")
    ]
    assert found[0].correlation > 0.98
