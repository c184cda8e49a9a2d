"""KDEF: 70 people posing seven expressions at five angles in two sessions.

Lundqvist, Flykt & Öhman, "The Karolinska Directed Emotional Faces", 1998. A file such as `AF01AFFL.JPG` reads: session
A or B, sex F or M, person 01-35, expression, angle (FL full left, HL half left, S straight, HR, FR).
"""

import re
from pathlib import Path

from fer.data.datasets.base import Candidate, DataSet, Scan, WrongFolder, files_of_2021_tree
from fer.data.framing import Framing
from fer.expressions import EXPRESSIONS

# `AF` is also the prefix of session A, women: the expression is read from characters 5 and 6 only.
NAME = re.compile(r"([AB])([FM]\d\d)(AF|AN|DI|HA|NE|SA|SU)(FL|HL|S|HR|FR)\.JPG", re.IGNORECASE)
EXPRESSION_OF = {
    "AF": "fear",
    "AN": "anger",
    "DI": "disgust",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
REPAIRED = {"AF31V.JPG": "AF31SAHL.JPG", "AM31H.JPG": "AM31SUHR.JPG"}
"""The two files that are misnamed in every copy, and their right names."""
ANGLE_GROUP = {
    "S": "frontal",
    "HL": "half-profile",
    "HR": "half-profile",
    "FL": "full-profile",
    "FR": "full-profile",
}
PROFILE_SIDE = 1.3
"""Side of a full profile's frame, as a multiple of the median frame's.

Assumed, as the set was not at hand: all five cameras stand at one height and distance, and the head in the middle. A
head is about 215 mm deep with its nose, and a frame about 165 mm wide, so 1.3 frames hold it whichever way it looks.
"""

# 50 people train, 6 validate and 14 test, sexes balanced; drawn once and kept, so that figures compare.
TEST_PEOPLE = ("F03", "F09", "F14", "F20", "F25", "F31", "F34", "M02", "M08", "M13", "M19", "M24", "M31", "M33")
VALIDATION_PEOPLE = ("F06", "F17", "F28", "M05", "M16", "M27")
_WOMEN = [f"F{number:02d}" for number in range(1, 36)]
_MEN = [f"M{number:02d}" for number in range(1, 36)]
SPLIT_OF = dict.fromkeys([*_WOMEN, *_MEN], "train")
SPLIT_OF |= dict.fromkeys(VALIDATION_PEOPLE, "validation") | dict.fromkeys(TEST_PEOPLE, "test")
"""The split of every person: sex and number."""

_FOLDERS = "[AB][FM][0-9][0-9]"


def scan(source: Path) -> Scan:
    """Scan KDEF's folders.

    Args:
        source: `KDEF_and_AKDEF`, its folder `KDEF`, one that holds the former, or a tree that the 2021 project
            prepared. The averages of `AKDEF` show every person at once and are never read.

    Raises:
        WrongFolder: The folder holds no picture named as KDEF's are.
    """
    bases = (source / "KDEF_and_AKDEF" / "KDEF", source / "KDEF", source)
    base = next((folder for folder in bases if any(folder.glob(f"{_FOLDERS}/*"))), None)
    if base:
        files = sorted(base.glob(f"{_FOLDERS}/*"))
    else:
        base = source
        files = [path for path, *_ in files_of_2021_tree(source, "kdef")]
    if not files:
        missing = "it has no folder such as KDEF/AF01 with pictures such as AF01AFFL.JPG"
        raise WrongFolder(f"{source} is not KDEF: {missing}")
    result = Scan()
    for path in files:
        # Editors leave backups that end in "~".
        if path.name.endswith("~"):
            continue
        source_name = path.relative_to(base).as_posix()
        candidate = _candidate(path, source_name)
        if candidate:
            result.candidates.append(candidate)
        else:
            result.left_out.append((source_name, "its name is not of the form AF01AFFL.JPG"))
    return result


def _candidate(path: Path, source_name: str) -> Candidate | None:
    """Read a picture's labels from its name; None where the name is none of KDEF's."""
    original = path.name.upper()
    name = REPAIRED.get(original, original)
    match = NAME.fullmatch(name)
    if match is None or match[2] not in SPLIT_OF:
        return None
    # AF01 and BF01 are one person: the identity is sex and number.
    session, person, code, angle = match.groups()
    return Candidate(
        path=path,
        expression=EXPRESSION_OF[code],
        split=SPLIT_OF[person],
        name=name,
        source_name=source_name,
        person=person,
        angle=angle,
        session=session,
        notes="" if name == original else f"name repaired from {path.name}",
    )


KDEF = DataSet(
    name="kdef",
    title="KDEF",
    scan=scan,
    folders=("KDEF_and_AKDEF",),
    instructions="request it at kdef.se",
    terms="KDEF: non-commercial research only, no redistribution",
    showable=False,
    native_side=762,
    # 5 angles in 2 sessions; validation lies under train.
    expected_counts={
        "train": dict.fromkeys(EXPRESSIONS, 56 * 10),
        "test": dict.fromkeys(EXPRESSIONS, 14 * 10),
    },
    person_split=True,
    angle_groups=ANGLE_GROUP,
    framing=Framing(fixed=dict.fromkeys(("FL", "FR"), PROFILE_SIDE)),
)
