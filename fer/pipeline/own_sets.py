"""Tell what `prepare` is told of a data set of somebody's own, and keep it for the commands that use the set."""

from dataclasses import fields, replace
from pathlib import Path

from fer.config.data import PrepareConfig
from fer.data.datasets.class_names import parse_class_map
from fer.data.datasets.own import OwnSet, own_names, read_record, write_record
from fer.data.datasets.registry import DATASETS, FOLDER, check_own_name, find_source
from fer.data.prepared import Prepared
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
        given = (config.map, config.split, config.terms, config.showable, config.framing)
        own = OwnSet(config.name, config.source, *given)
        return _with_source(own, config.source, root)
    described = [item.name for item in fields(config) if item.name in DESCRIBING]
    described = [name for name in described if getattr(config, name) != getattr(PrepareConfig, name)]
    if described:
        raise ConfigError(f"{described[0]} describes a set of your own: give it with dataset={FOLDER}")
    # One that has a known set's name is refused where the sets are resolved.
    if config.source and config.dataset in own_names(root) and config.dataset not in DATASETS:
        return _with_source(read_record(root, config.dataset), config.source, root)
    return None


def _with_source(own: OwnSet, source: str, root: Path) -> OwnSet:
    # Absolute, as the set may be prepared again from another folder.
    return replace(own, source=str(find_source(own.dataset(), source, root)))


def keep_record(described: OwnSet | None, prepared: Prepared, root: Path) -> None:
    """Keep what is known of a set of somebody's own once it is prepared; of other sets nothing is kept.

    Args:
        described: The set as it was just described, or None.
        prepared: The set that was prepared.
        root: The data root.
    """
    name = prepared.manifest.dataset
    if described or name in own_names(root):
        # The pictures may have changed since the record was written.
        own = described or read_record(root, name)
        write_record(root, own.prepared_as(prepared.manifest, prepared.framing))
