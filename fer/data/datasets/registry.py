"""Registry of the data sets, and the names by which options choose among them."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fer.data.datasets.affectnet import AFFECTNET
from fer.data.datasets.base import DataSet
from fer.data.datasets.ckplus import CKPLUS
from fer.data.datasets.expw import EXPW
from fer.data.datasets.fer2013 import FER2013
from fer.data.datasets.ferplus import FERPLUS
from fer.data.datasets.jaffe import JAFFE
from fer.data.datasets.kdef import KDEF
from fer.data.datasets.own import NAME, own_names, read_record, record_path
from fer.data.datasets.raf import RAF
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.prepared import read_summary
from fer.errors import ConfigError, DataError, quoted, quoted_path, unknown_name
from fer.utils.paths import manifest_path, prepared_datasets, printable

FOLDER = "folder"
"""What `prepare` calls a set that is not known yet."""
DRAWN_FOLDER = "drawn"
"""Folder under the data root where the drawn set's raw trees are written."""


def _drawn(real: DataSet) -> DataSet:
    """Return the drawn stand-in of a set: the same reader, no terms, pictures that may be shown."""
    return replace(
        real,
        name=f"drawn-{real.name}",
        title=f"drawn faces laid out as {real.title}",
        folders=(f"{DRAWN_FOLDER}/{real.name}",),
        instructions="run prepare with dataset=drawn",
        terms="",
        showable=True,
        credits=None,
        expected_counts={},
        # The drawn KDEF shows test people only.
        has_train=real is RAF,
        # No detector is made for drawn faces.
        framing=None,
        drawn=True,
        download=None,
    )


DATASETS: dict[str, DataSet] = {
    "raf": RAF,
    "kdef": KDEF,
    "ferplus": FERPLUS,
    "wikimedia": WIKIMEDIA,
    "fer2013": FER2013,
    "ckplus": CKPLUS,
    "jaffe": JAFFE,
    "expw": EXPW,
    "affectnet": AFFECTNET,
    "drawn-raf": _drawn(RAF),
    "drawn-kdef": _drawn(KDEF),
    "drawn-wikimedia": _drawn(WIKIMEDIA),
}

ALIASES: dict[str, tuple[str, ...]] = {
    "drawn": ("drawn-raf", "drawn-kdef", "drawn-wikimedia"),
    # names of 2021
    "raf_basic": ("raf",),
    "wikimedia_commons_emotions": ("wikimedia",),
}


RESERVED = ("folder", "prepared", "none", "train", "validation", "test", "best", "calibration", "system")
"""Names that mean something else in options, or that metrics of other kinds begin with."""


def expand_aliases(names: str) -> list[str]:
    """Return the names of sets that an option such as `drawn+mine` means, without repetition and known or not."""
    expanded: list[str] = []
    for word in names.split("+"):
        alias = word.strip()
        expanded += ALIASES.get(alias, (alias,))
    return list(dict.fromkeys(expanded))


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of sets in the registry's order, each once; those of people's own come last, sorted."""
    present = set(names)
    return [*(name for name in DATASETS if name in present), *sorted(present - DATASETS.keys())]


def resolve_datasets(names: str, root: Path) -> list[DataSet]:
    """Return the data sets an option such as `raf+mine` or `drawn` names, without repetition.

    Args:
        names: The option.
        root: The data root, which knows the sets of people's own.

    Raises:
        ConfigError: A name is unknown or the option is empty.
        DataError: The record of a set of somebody's own is damaged, or has the name of a known set.
    """
    return [_dataset(name, root) for name in expand_aliases(names)]


def _dataset(name: str, root: Path) -> DataSet:
    own = own_names(root)
    if name in DATASETS:
        # Made before this version knew a set of that name: neither may pass for the other.
        if name in own:
            record = record_path(root, name)
            cure = f"prepare it again with dataset={FOLDER} and another name, and delete {record}"
            raise DataError(f"{name!r} is a set of your own, and now a known set as well: {cure}")
        return DATASETS[name]
    if name in own:
        return read_record(root, name).dataset()
    if name == FOLDER:
        raise ConfigError(f"dataset={FOLDER} is for prepare: call the set by the name it was given there")
    raise ConfigError(unknown_name("data set", name, [*DATASETS, *ALIASES, *own]))


def resolve_prepared(names: str, root: Path) -> list[DataSet]:
    """Return the sets an option names, where `prepared` means every set prepared under the data root.

    Raises:
        ConfigError: A name is unknown.
        DataError: A named set, or for `prepared` any set, is not prepared, or not by this version.
    """
    if names == "prepared":
        known = {*DATASETS, *own_names(root)}
        names = "+".join(name for name in prepared_datasets(root) if name in known)
        if not names:
            raise DataError(f"no data set is prepared under {root}: run prepare, such as with dataset=drawn")
    chosen = resolve_datasets(names, root)
    for dataset in chosen:
        if not manifest_path(root, dataset.name).is_file():
            cure = f"run prepare with dataset={dataset.name}"
            raise DataError(f"{dataset.title} is not prepared under {root}: {cure}")
        read_summary(root, dataset.name)  # refuses another version's
    return chosen


def check_own_name(name: str) -> None:
    """Refuse a name that a set of somebody's own cannot have.

    Raises:
        ConfigError: It is empty, taken, or of a form that paths, options and metrics cannot hold.
    """
    if not name:
        raise ConfigError(f"dataset={FOLDER} needs a name for the set, such as name=mine")
    if name in (*DATASETS, *ALIASES, *RESERVED):
        raise ConfigError(f"name {quoted(name)} is taken: choose another one")
    if not NAME.fullmatch(name):
        form = "lower-case letters, digits, - and _, beginning with a letter, 40 at most"
        raise ConfigError(f"name {quoted(name)} cannot be a data set's: take {form}")


def find_source(dataset: DataSet, option: str, root: Path) -> Path | None:
    """Return the download, a folder or an archive: the option, else the first default path that exists, else None.

    Raises:
        DataError: The option names neither.
    """
    if not option:
        # Unlike Path's, these tests say no where a folder may not be entered, such as another user's home.
        for path in dataset.default_paths(root):
            if os.path.isdir(path) or (dataset.takes_table and os.path.isfile(path)):  # noqa: PTH112, PTH113
                return path
        return None
    shown = f"source {quoted_path(option)}"
    # Brings zipfile and tarfile, for the few downloads that are still packed.
    from fer.data.archives import is_archive

    try:
        source = Path(option).expanduser().resolve()
        usable = source.is_dir() or dataset.is_table(source) or is_archive(source)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{shown} cannot be read: {error}") from None
    if printable(str(source)) != str(source):
        raise DataError(f"{shown} cannot be recorded: its path is no UTF-8 text in one line")
    if not source.exists():
        raise DataError(f"{shown}: there is no {source}")
    if not usable:
        forms = "a folder, a table (.csv) nor" if dataset.takes_table else "a folder nor"
        raise DataError(f"{shown} is neither {forms} a zip or tar archive")
    return source


def missing_download(dataset: DataSet, root: Path) -> DataError:
    """Return the error for a set that is nowhere: where it was looked for, how to get it, what works without it."""
    paths = " and ".join(str(path) for path in dataset.default_paths(root))
    return DataError(
        f"{dataset.title} was not found in {paths}: {dataset.instructions} and pass its folder as source=...; "
        "dataset=drawn works at once"
    )
