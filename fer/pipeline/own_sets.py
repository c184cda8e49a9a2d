"""Tell what `prepare` is told of a data set of somebody's own, and keep it for the commands that use the set."""

from dataclasses import fields, replace
from pathlib import Path

from fer.config.data import PrepareConfig
from fer.data.datasets.class_names import parse_class_map
from fer.data.datasets.own import OwnSet, own_names, read_record, write_record
from fer.data.datasets.registry import DATASETS, FOLDER, check_own_name, find_source
from fer.data.manifest import Manifest
from fer.errors import ConfigError

DESCRIBING = ("name", "map", "split", "terms", "showable")
"""Options that describe a set of one's own."""


def described_set(config: PrepareConfig, root: Path) -> OwnSet | None:
    """Return the set of somebody's own that a configuration describes; None where it names sets that are known.

    A known set of one's own given another source is described anew by that source and what was said before.

    Raises:
        ConfigError: The name is missing or taken, the map is wrong, or the options describe a set that is known.
        DataError: The source is missing or no folder, table or archive, or a record is damaged.
    """
    if config.dataset == FOLDER:
        check_own_name(config.name)
        parse_class_map(config.map)
        if not config.source:
            raise ConfigError(f"dataset={FOLDER} needs the pictures: give source=<a folder, a CSV or an archive>")
        own = OwnSet(config.name, config.source, config.map, config.split, config.terms, config.showable)
        return _with_source(own, config.source, root)
    given = [item.name for item in fields(config) if item.name in DESCRIBING]
    given = [name for name in given if getattr(config, name) != getattr(PrepareConfig, name)]
    if given:
        raise ConfigError(f"{given[0]} describes a set of your own: give it with dataset={FOLDER}")
    # One that has a known set's name is refused where the sets are resolved.
    if config.source and config.dataset in own_names(root) and config.dataset not in DATASETS:
        return _with_source(read_record(root, config.dataset), config.source, root)
    return None


def _with_source(own: OwnSet, source: str, root: Path) -> OwnSet:
    # Absolute, as the set may be prepared again from another folder.
    return replace(own, source=str(find_source(own.dataset(), source, root)))


def keep_record(described: OwnSet | None, name: str, manifest: Manifest, root: Path) -> None:
    """Keep what is known of a set of somebody's own once it is prepared; of other sets nothing is kept.

    Args:
        described: The set as it was just described, or None.
        name: The set that was prepared.
        manifest: Its images.
        root: The data root.
    """
    if described:
        write_record(root, described.prepared_as(manifest))
    elif name in own_names(root):
        # The pictures may have changed since.
        write_record(root, read_record(root, name).prepared_as(manifest))
