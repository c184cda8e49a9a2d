"""Prepare downloads into the common tree, each set checked, listed and logged in one tracked run."""

from dataclasses import dataclass
from pathlib import Path

from fer.attribution.update import credits_message
from fer.config.data import PrepareConfig
from fer.data.datasets import drawn
from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import (
    DRAWN_FOLDER,
    find_source,
    missing_download,
    resolve_datasets,
)
from fer.data.datasets.wikimedia import differences_from_list
from fer.data.framing import NOT_FOUND, center_face
from fer.data.prepare import framing_name, prepare
from fer.data.prepared import Prepared, is_prepared, load_prepared, preparation_counts
from fer.errors import ConfigError, DataError
from fer.expressions import EXPRESSIONS
from fer.pipeline.contact_sheets import make_contact_sheet
from fer.pipeline.context import log_dataset
from fer.pipeline.descriptions import describe_prepared
from fer.pipeline.own_sets import described_set, keep_record
from fer.tracking.lifecycle import tracked
from fer.tracking.names import DIGEST, TERMS, dataset_tag
from fer.tracking.naming import joined_name
from fer.tracking.runs import TrackedRun
from fer.utils.paths import manifest_path, resolve_data_root, summary_path
from fer.utils.rendering import render, text_table


@dataclass(frozen=True)
class PrepareResult:
    """What `prepare` made.

    Attributes:
        run_id: The MLflow run.
        prepared: The sets by name.
        where: Lines that tell a person where to look at the run.
    """

    run_id: str
    prepared: dict[str, Prepared]
    where: str


def prepare_sets(config: PrepareConfig) -> PrepareResult:
    """Prepare the sets a configuration names, in one tracked run; print what was found as soon as a set is done.

    Raises:
        ConfigError: A name is unknown, or a source is given for several sets.
        DataError: A download is absent or not what it should be.
    """
    root = resolve_data_root(config.data_root)
    described = described_set(config, root)
    sets = [described.dataset()] if described else resolve_datasets(config.dataset, root)
    if config.source and len(sets) > 1:
        raise ConfigError("source belongs to one data set: prepare the sets one by one")
    # Before the run begins, so that a missing download leaves no failed run behind.
    sources = {dataset.name: _find_source(dataset, config.source, root) for dataset in sets}
    prepared: dict[str, Prepared] = {}
    names = "+".join(sources) if described else config.dataset
    with tracked("prepare", config, joined_name("prepare", names)) as run:
        if any(dataset.drawn for dataset in sets) and not config.source:
            drawn.write_drawn(root / DRAWN_FOLDER, scale=config.scale)
        for dataset in sets:
            result = prepare_set(dataset, sources[dataset.name], root, config.framing)
            prepared[dataset.name] = result
            keep_record(described, result, root)
            _log_prepared(run, dataset, result, root)
            no_sheet = make_contact_sheet(run, dataset, result.manifest, root, config.allow_unattributed)
            print(_summary(dataset, result, no_sheet), end="")
            if dataset.credits:
                pictures = {row.source_name: root / row.path for row in result.manifest.images}
                for difference in differences_from_list(dataset.credits, pictures):
                    print(f"  {difference}")
        describe_prepared(run, prepared)
    return PrepareResult(run.id, prepared, run.where())


def prepare_set(dataset: DataSet, source: Path | None, root: Path, framing: str) -> Prepared:
    """Prepare a set from its download or, where that is gone, take it as it was prepared.

    Args:
        dataset: The set.
        source: The download, or None where it is gone.
        root: The data root.
        framing: `auto` or `none`.

    Raises:
        DataError: The download is gone and the set is not prepared, or with another framing, or the download is not
            what it should be.
    """
    detector = center_face if framing == "auto" and dataset.framing else None
    if source:
        return prepare(dataset, source, root, detector)
    earlier = load_prepared(dataset, root)
    if earlier is None:
        raise missing_download(dataset, root)
    if earlier.framing != framing_name(detector):
        kept = f"{dataset.title} is prepared with framing={earlier.framing}: give that to keep it"
        raise DataError(f"{kept}; for another framing {missing_download(dataset, root)}")
    return earlier


def _find_source(dataset: DataSet, option: str, root: Path) -> Path | None:
    """Return where a set comes from, downloaded where that is possible; None for a prepared set without download."""
    if dataset.drawn and not option:
        # Not there yet: it is drawn within the run.
        return dataset.default_paths(root)[0]
    source = find_source(dataset, option, root)
    if source or is_prepared(root, dataset.name):
        return source
    if not dataset.download:
        raise missing_download(dataset, root)
    source = dataset.download(root)
    if dataset.credits:
        print(credits_message(root))
    return source


def _log_prepared(run: TrackedRun, dataset: DataSet, prepared: Prepared, root: Path) -> None:
    name = dataset.name
    manifest = prepared.manifest
    log_dataset(run, manifest, root, "prepared")
    run.file(manifest_path(root, name), f"manifests/{name}")
    run.file(summary_path(root, name), f"manifests/{name}")
    # Counts by split and expression stand in the summary: as metrics they would crowd out what people compare.
    counts = preparation_counts(root, name) | {"images": float(len(manifest.images))}
    run.metrics({f"{name}/{key}": count for key, count in counts.items()})
    run.tags(
        {
            dataset_tag(name, DIGEST): manifest.digest,
            dataset_tag(name, TERMS): dataset.terms or "free",
        }
    )


def _summary(dataset: DataSet, prepared: Prepared, no_sheet: str) -> str:
    """Return what a person should know of a prepared set, and why its run has no contact sheet, if so."""
    manifest = prepared.manifest
    counts = [["", *EXPRESSIONS]]
    for split, by_expression in manifest.counts().items():
        counts.append([split, *map(str, by_expression.values())])
    # One picture to look at for each reason: a thousand of them usually have the same cause.
    examples: dict[str, str] = {}
    for name, reason in prepared.left_out:
        examples.setdefault(reason, name)
    summary = prepared.summary()
    return render(
        "prepared.txt",
        title=dataset.title,
        manifest=manifest,
        state="already prepared" if prepared.reused else f"prepared from {prepared.source}",
        counts=text_table(counts, left=1),
        summary=summary,
        not_found=sum(count for how, count in summary["framed"].items() if how.startswith(NOT_FOUND)),
        examples=examples,
        no_sheet=no_sheet,
    )
