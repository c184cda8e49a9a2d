"""Drawn faces in the raw layouts of RAF-DB, KDEF and the Wikimedia set.

The trees carry the originals' oddities (a misspelt list, misnamed and black files, mixed colour modes, editor backups),
so that the demo and the tests drive the real readers. The same seed gives the same bytes, whatever else is drawn.
"""

import json
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from fer.data.datasets.drawn.parameters import Person, random_actions, studio_scene, wild_scene
from fer.data.datasets.drawn.render import render
from fer.data.datasets.kdef import EXPRESSION_OF, REPAIRED
from fer.data.datasets.raf import TEST_COUNTS, TRAIN_COUNTS
from fer.errors import DataError
from fer.expressions import EXPRESSIONS, code_of
from fer.utils.paths import data_lock, translate_disk_errors

FORMAT_VERSION = 1
"""Raised whenever the drawn pictures or trees change, so that older trees are drawn again."""
SEED = 2021
STAMP = "drawn.json"
KDEF_PEOPLE = ("F31", "M31", "F14", "M19", "F03", "M08")
"""Of KDEF's test people; the first two are those with misnamed files."""
KDEF_SIZE = (140, 190)
# Pictures by split in the demo, and the fewest of a class.
RAF_SIZES = (("train", TRAIN_COUNTS, 1400, 40), ("test", TEST_COUNTS, 420, 20))

_YAW_OF_ANGLE = {"FL": -90.0, "HL": -45.0, "S": 0.0, "HR": 45.0, "FR": 90.0}
_WRONG_NAME = {right: wrong for wrong, right in REPAIRED.items()}
_NAMES = (
    "Drawn face {}",
    'The "great" look {} (cropped)',
    "چهره {}",
    "Лицо's {} (1945)",
    "A_face,_no._{}",
)
_LONGEST_SIDE = 224
_EXIF_ORIENTATION, _TURN_CLOCKWISE = 0x0112, 6


def write_raf(folder: Path, counts: Mapping[str, Mapping[str, int]], seed: int) -> None:
    """Write faces as RAF-DB basic lays them out: 100x100 JPEG and one list of labels.

    Args:
        folder: Becomes RAF's folder `basic`, with `EmoLabel` and `Image/aligned`.
        counts: Pictures by split (`train`, `test`) and expression.
        seed: Of the random generators. Nobody is drawn twice, so no one is in both splits.
    """
    images = folder / "Image" / "aligned"
    images.mkdir(parents=True)
    lines = []
    for split, digits in (("train", 5), ("test", 4)):
        expressions = list(Counter(counts[split]).elements())
        # Numbers must not tell the class.
        _rng(seed, "raf", split).shuffle(expressions)
        progress = tqdm(expressions, f"drawing RAF {split}", disable=None)
        for number, expression in enumerate(progress, start=1):
            rng = _rng(seed, "raf", split, number)
            name = f"{split}_{number:0{digits}d}"
            image = _wild_face(rng, expression, (100, 100))
            quality = int(rng.integers(70, 96))
            image.save(images / f"{name}_aligned.jpg", quality=quality)
            lines.append(f"{name}.jpg {code_of(expression)}")
    labels = folder / "EmoLabel" / "list_patition_label.txt"
    labels.parent.mkdir()
    # The original's last line lacks its newline too.
    labels.write_text("\n".join(lines), encoding="utf-8")


def _wild_face(
    rng: np.random.Generator,
    expression: str,
    size: tuple[int, int],
    variation: float = 1.0,
) -> Image.Image:
    person = Person(rng)
    actions = random_actions(rng, expression)
    return render(person, actions, wild_scene(rng, variation), size, rng)


def write_kdef(
    folder: Path,
    people: Sequence[str],
    seed: int,
    size: tuple[int, int] = KDEF_SIZE,
) -> None:
    """Write people as KDEF lays them out, with its two misnamed files, one black picture and a picture of no person.

    Args:
        folder: Becomes `KDEF_and_AKDEF`.
        people: Such as `F31`: sex and number.
        seed: Of the random generators. A person looks the same in both sessions and in every tree of this seed.
        size: Width and height; the original's are 562 and 762.
    """
    black = f"B{people[-1]}AFFL.JPG"
    showings = list(product(people, "AB", EXPRESSION_OF.items()))
    for who, session, (code, expression) in tqdm(showings, "drawing KDEF", disable=None):
        person = Person(_rng(seed, "kdef", who), female=who.startswith("F"))
        # The five cameras of KDEF see one showing of the expression.
        rng = _rng(seed, "kdef", who, session, code)
        actions = random_actions(rng, expression, strength=(0.6, 1.0))
        person_folder = folder / "KDEF" / f"{session}{who}"
        person_folder.mkdir(parents=True, exist_ok=True)
        for angle, yaw in _YAW_OF_ANGLE.items():
            image = render(person, actions, studio_scene(rng, yaw), size, rng)
            name = f"{session}{who}{code}{angle}.JPG"
            if name == black:
                image = Image.new("RGB", size)
            image.save(person_folder / _WRONG_NAME.get(name, name), quality=90)
    # Stands for the averages of everybody, which no reader may take for a person.
    (folder / "AKDEF").mkdir()
    image.save(folder / "AKDEF" / "AFHAS.JPG")


def write_wikimedia(folder: Path, per_class: int, seed: int) -> None:
    """Write faces as the Wikimedia set lays them out: folders 1 to 7, mixed formats, awkward names.

    Scenes vary more than in the RAF-like set. Class 1 holds a CMYK JPEG and class 2 a JPEG that only its EXIF
    orientation shows upright; both need `per_class` of 1 or more.

    Args:
        folder: Becomes the folder of the seven class folders.
        per_class: Pictures per expression.
        seed: Of the random generators.
    """
    for expression in tqdm(EXPRESSIONS, "drawing Wikimedia", disable=None):
        code = code_of(expression)
        class_folder = folder / str(code)
        class_folder.mkdir(parents=True)
        for number in range(per_class):
            rng = _rng(seed, "wikimedia", code, number)
            short = int(rng.integers(150, _LONGEST_SIDE + 1))
            upright = rng.random() < 0.7
            size = (short, _LONGEST_SIDE) if upright else (_LONGEST_SIDE, short)
            image = _wild_face(rng, expression, size, variation=1.4)
            name = _NAMES[number % len(_NAMES)].format(number + 1)
            _save_wikimedia(image, class_folder / name, code, number)
    (folder / "1" / "Drawn face 1.jpg~").write_bytes(b"an editor's backup")


def _save_wikimedia(image: Image.Image, stem: Path, code: int, number: int) -> None:
    """Save one picture in one of the formats that occur on Commons."""
    kind = (code + number) % 4
    suffix = "jpg"
    options: dict[str, Any] = {}
    if (code, number) == (1, 0):
        image = image.convert("CMYK")
    elif (code, number) == (2, 0):
        exif = Image.Exif()
        exif[_EXIF_ORIENTATION] = _TURN_CLOCKWISE
        options["exif"] = exif
        image = image.transpose(Image.Transpose.ROTATE_90)
    elif kind == 0:
        # Transparency, as cut-outs on Commons have it.
        mask = Image.new("L", image.size, 0)
        outline = (0, 0, image.width - 1, image.height - 1)
        ImageDraw.Draw(mask).rounded_rectangle(outline, 40, fill=255)
        image.putalpha(mask)
        suffix = "png"
    elif kind == 1:
        image = image.convert("L")
    # Names hold dots, so that `with_suffix` would cut them.
    image.save(f"{stem}.{suffix}", quality=90, **options)


def write_drawn(folder: Path, scale: float = 1.0) -> None:
    """Write the demo's three trees, `raf`, `kdef` and `wikimedia`, unless they stand there already.

    The whole set appears at once or not at all, and processes that want it at the same time wait for the first.

    Args:
        folder: Replaced when it holds a drawn set of another version or scale.
        scale: How many faces, as a multiple of the demo's 1,407 + 429 + 420 + 84.

    Raises:
        DataError: `folder` holds something that this function did not write, or the disk is full.
    """
    stamp = json.dumps({"version": FORMAT_VERSION, "seed": SEED, "scale": scale})
    with translate_disk_errors(folder.parent), data_lock(folder.parent, folder.name):
        if (folder / STAMP).is_file():
            if (folder / STAMP).read_text(encoding="utf-8") == stamp:
                return
        elif folder.exists() and any(folder.iterdir()):
            cure = "move it or choose data_root"
            raise DataError(f"{folder} is in the way of the drawn set and not one itself: {cure}")
        people = KDEF_PEOPLE[: max(2, round(len(KDEF_PEOPLE) * scale))]
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            draft = Path(temporary) / folder.name
            write_raf(draft / "raf", _raf_counts(scale), SEED)
            write_kdef(draft / "kdef", people, SEED)
            write_wikimedia(draft / "wikimedia", max(3, round(12 * scale)), SEED)
            (draft / STAMP).write_text(stamp, encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)


def _raf_counts(scale: float) -> dict[str, dict[str, int]]:
    """Return about 1,400 and 420 pictures in RAF's proportions.

    The rare classes have more than their part, enough to learn and to measure.
    """
    counts: dict[str, dict[str, int]] = {}
    for split, full, total, least in RAF_SIZES:
        fraction = total / sum(full.values())
        counts[split] = {}
        for expression, count in full.items():
            enough = max(least, fraction * count)
            # At any scale each class has some for training and one for validation.
            counts[split][expression] = max(3, round(scale * enough))
    return counts


def _rng(*path: object) -> np.random.Generator:
    """Return a generator that depends on the seed and the picture's path alone, not on what was drawn before."""
    return np.random.default_rng([zlib.crc32(str(part).encode()) for part in path])
