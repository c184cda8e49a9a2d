"""Data sets of people's own: what their options say of them, kept in a record under the data root."""

import json
import re
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from statistics import median

from fer.config.options import FRAMINGS, SPLIT_CHOICES
from fer.data.datasets.base import DataSet
from fer.data.datasets.class_names import parse_class_map
from fer.data.datasets.folder import scan
from fer.data.framing import Framing
from fer.data.manifest import Manifest
from fer.errors import ConfigError, DataError
from fer.portable.json_files import check_kinds, read_object
from fer.utils.atomic import atomic_path
from fer.utils.paths import translate_disk_errors

FORMAT = 1
"""Raised whenever the record of a set changes."""
UNSTATED_TERMS = "terms not stated"
NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
"""What a set may be called: it becomes part of paths, options and names of metrics."""


@dataclass(frozen=True)
class OwnSet:
    """What is known of a set of somebody's own.

    Attributes:
        name: Its name in options, paths and metrics.
        source: Absolute path of its folder, table or archive.
        map: Expressions of its classes, as `parse_class_map` reads them; empty: by their names.
        split: `auto`, or `train` or `test` for all of it.
        terms: What its pictures may be used for.
        showable: Whether they may appear in figures and reports.
        framing: `auto`, or `none` for faces that are cut out already.
        has_train: Whether it has training images; known when it is prepared.
        native_side: Typical longest side of its pictures, or of the faces in them; likewise.
    """

    name: str
    source: str
    map: str = ""
    split: str = "auto"
    terms: str = ""
    showable: bool = False
    framing: str = "auto"
    has_train: bool = True
    native_side: int = 224

    def dataset(self) -> DataSet:
        """Return the data set."""
        return DataSet(
            name=self.name,
            title=self.name,
            scan=partial(scan, self.map, self.split),
            folders=(self.source,),
            instructions=f"run prepare with dataset=folder name={self.name}",
            # As the terms of other sets, which stand beside them in cards, begin with a name.
            terms=f"{self.name}: {self.terms or UNSTATED_TERMS}",
            showable=self.showable,
            native_side=self.native_side,
            has_train=self.has_train,
            # Collections that grew by hand hold pictures twice, in training and test perhaps.
            has_duplicates=True,
            framing=None if self.framing == "none" else Framing(),
            takes_table=True,
            options=f"map={self.map} split={self.split}",
        )

    def prepared_as(self, manifest: Manifest, framing: str) -> "OwnSet":
        """Return the set with its framing, and what its prepared images tell of it."""
        sides = []
        for row in manifest.images:
            frame = row.square()
            sides.append(frame.side if frame else max(row.width, row.height))
        has_train = any(row.split == "train" for row in manifest.images)
        return replace(self, framing=framing, has_train=has_train, native_side=max(round(median(sides)), 1))


def record_path(root: Path, name: str) -> Path:
    """Return the path of a set's record."""
    return root / "sets" / f"{name}.json"


def own_names(root: Path) -> list[str]:
    """List the names of the sets of people's own under a data root, sorted."""
    # A file of another name is none that `prepare` wrote.
    return sorted(path.stem for path in (root / "sets").glob("*.json") if NAME.fullmatch(path.stem))


def write_record(root: Path, own: OwnSet) -> None:
    """Keep what is known of a set under the data root.

    Raises:
        DataError: The disk is full or may not be written.
    """
    with translate_disk_errors(root), atomic_path(record_path(root, own.name)) as partial_path:
        content = json.dumps({"format": FORMAT, **asdict(own)}, indent=1, ensure_ascii=False)
        partial_path.write_text(content, encoding="utf-8")


def read_record(root: Path, name: str) -> OwnSet:
    """Read what is known of a set.

    Raises:
        DataError: The record is damaged or of another version.
    """
    path = record_path(root, name)
    try:
        values = read_object(path)
        if values.pop("format", None) != FORMAT:
            raise ValueError
        kinds = {item.name: item.type for item in fields(OwnSet) if item.type is not bool}
        check_kinds(values, kinds)
        own = OwnSet(**values)
        are_choices = own.split in SPLIT_CHOICES and own.framing in FRAMINGS
        are_switches = {type(own.showable), type(own.has_train)} == {bool}
        if own.name != name or not are_choices or not are_switches:
            raise ValueError
        parse_class_map(own.map)
    except (OSError, ValueError, TypeError, ConfigError):
        cure = f"run prepare again with dataset=folder name={name} and its source"
        raise DataError(f"{path} is damaged or of another version of fer: {cure}") from None
    return own
