"""RAF-DB and KDEF at their full number of files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data.datasets.kdef import EXPRESSION_OF, KDEF
from fer.data.datasets.raf import RAF, TEST_COUNTS, TRAIN_COUNTS
from fer.data.prepare import prepare
from fer.expressions import EXPRESSIONS, code_of

pytestmark = pytest.mark.slow


def noise(path: Path, seed: int, size: tuple[int, int]) -> None:
    """Write a picture of coarse noise, different for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size).save(path, "JPEG")


def test_raf_whole(tmp_path):
    base, lines = tmp_path / "basic", []
    (base / "Image/aligned").mkdir(parents=True)
    (base / "EmoLabel").mkdir()
    for split, counts, digits in (("train", TRAIN_COUNTS, 5), ("test", TEST_COUNTS, 4)):
        labels = [code_of(name) for name in EXPRESSIONS for _ in range(counts[name])]
        for number, code in enumerate(labels, start=1):
            name = f"{split}_{number:0{digits}d}"
            lines.append(f"{name}.jpg {code}")
            noise(base / f"Image/aligned/{name}_aligned.jpg", len(lines), (100, 100))
    (base / "EmoLabel/list_patition_label.txt").write_text("\n".join(lines))
    done = prepare(RAF, base, tmp_path / "data")
    assert not done.left_out
    assert not done.differences
    counts = {split: sum(by_class.values()) for split, by_class in done.manifest.counts().items()}
    assert counts["train"] + counts["validation"] == 12_271
    assert counts["validation"] == sum(round(count / 10) for count in TRAIN_COUNTS.values())
    assert counts["test"] == 3_068
    assert prepare(RAF, base, tmp_path / "data").reused


def test_kdef_whole(tmp_path):
    source, seed = tmp_path / "KDEF_and_AKDEF", 0
    for person in [f"{session}{sex}{number:02d}" for session in "AB" for sex in "FM" for number in range(1, 36)]:
        (source / "KDEF" / person).mkdir(parents=True)
        for expression in EXPRESSION_OF:
            for angle in ("FL", "HL", "S", "HR", "FR"):
                seed += 1
                noise(source / "KDEF" / person / f"{person}{expression}{angle}.JPG", seed, (562, 762))
    for person, right, wrong in (("AF31", "AF31SAHL.JPG", "AF31V.JPG"), ("AM31", "AM31SUHR.JPG", "AM31H.JPG")):
        (source / "KDEF" / person / right).rename(source / "KDEF" / person / wrong)
    black = ("BF10/BF10SUS.JPG", "BM22/BM22SAHL.JPG")
    for name in black:
        Image.new("RGB", (562, 762)).save(source / "KDEF" / name, "JPEG")
    done = prepare(KDEF, source, tmp_path / "data")
    assert sorted(done.left_out) == [(name, "entirely black") for name in black]
    assert len(done.manifest.images) == 4_898
    assert sum("name repaired" in row.notes for row in done.manifest.images) == 2
    people = {
        split: {row.person for row in done.manifest.of(split).images} for split in ("train", "validation", "test")
    }
    assert {split: len(found) for split, found in people.items()} == {"train": 50, "validation": 6, "test": 14}
    assert sorted(done.differences) == ["train sadness: 559 of 560", "train surprise: 559 of 560"]
