"""JAFFE: 213 grey 256x256 photographs of ten Japanese women posing seven expressions.

Lyons, Akamatsu, Kamachi & Gyoba, "Coding Facial Expressions with Gabor Wavelets", FG 1998. A file such as
`KA.AN1.39.tiff` reads: person, expression (AN DI FE HA NE SA SU), its number of this person, number in the set.

Known faults: the label is the expression that was asked for; 60 raters, whose ratings come with the set, often saw
another one, most of all in fear. Copies have other suffixes, such as `.tif` or `.tiff.bmp`, and lower-case names, which
are read likewise. Ten people are too few to train on and test others: the set serves as a test for models trained
elsewhere.
"""

import re
from pathlib import Path

from fer.data.datasets.base import Candidate, DataSet, Scan, WrongFolder
from fer.data.framing import Framing
from fer.expressions import EXPRESSIONS

PEOPLE = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
EXPRESSION_OF = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
NAME = re.compile(rf"({'|'.join(PEOPLE)})\.({'|'.join(EXPRESSION_OF)})\d\.\d+(\.tiff?|\.png|\.jpe?g|\.bmp)+", re.I)
PICTURES = (".tiff", ".tif", ".png", ".jpg", ".jpeg", ".bmp")

COUNTS = dict(zip(EXPRESSIONS, (30, 32, 29, 31, 31, 30, 30), strict=True))


def scan(source: Path) -> Scan:
    """Scan JAFFE's pictures, whose names tell everything.

    Args:
        source: A folder that holds them, in it or below.

    Raises:
        WrongFolder: It holds no picture named as JAFFE's are.
    """
    result = Scan()
    for path in sorted(source.rglob("*")):
        # Hidden files are what macOS adds to archives, and no pictures.
        if path.suffix.lower() not in PICTURES or path.name.startswith("."):
            continue
        source_name = path.relative_to(source).as_posix()
        match = NAME.fullmatch(path.name)
        if not match:
            result.left_out.append((source_name, "its name is not of the form KA.AN1.39.tiff"))
            continue
        candidate = Candidate(
            path=path,
            expression=EXPRESSION_OF[match[2].upper()],
            split="test",
            name=path.name,
            source_name=source_name,
            person=match[1].upper(),
        )
        result.candidates.append(candidate)
    if not result.candidates:
        raise WrongFolder(f"{source} is not JAFFE: it has no pictures such as KA.AN1.39.tiff")
    return result


JAFFE = DataSet(
    name="jaffe",
    title="JAFFE",
    scan=scan,
    folders=("jaffe", "JAFFE"),
    instructions="request it at zenodo.org/records/14974867",
    terms="JAFFE: non-commercial research only, no redistribution",
    showable=False,
    native_side=256,
    expected_counts={"test": COUNTS},
    has_train=False,
    framing=Framing(),
)
