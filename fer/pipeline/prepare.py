"""Prepare downloads into the common tree, each set checked, listed and logged in one tracked run."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fer.attribution.contact_sheet import CreditedPicture, credited_sheet
from fer.attribution.refresh import credits_message
from fer.config.commands import PrepareConfig
from fer.data.datasets.base import DataSet
from fer.data.datasets.drawn import layouts
from fer.data.datasets.registry import DRAWN_FOLDER, find_source, missing_download, resolve_datasets
from fer.data.datasets.wikimedia import differences_from_list
from fer.data.detector import center_face
from fer.data.manifest import ImageRow, Manifest
from fer.data.packing import read_framed
from fer.data.prepare import framing_name, prepare
from fer.data.prepared import Prepared, is_prepared, load_prepared, preparation_counts
from fer.errors import ConfigError
from fer.evaluation.figures import contact_sheet
from fer.expressions import EXPRESSIONS
from fer.pipeline.inputs import REFRESH_HINT, credits_of, log_dataset
from fer.tracking.lifecycle import tracked
from fer.tracking.names import DIGEST, TERMS, dataset_tag
from fer.tracking.runs import TrackedRun
from fer.utils.paths import manifest_path, resolve_data_root, summary_path

SHOWN = 12
"""Pictures of each expression on a contact sheet."""
LARGEST_SHOWN = 256
"""Longest side in pixels of the pictures a contact sheet is made of."""


@dataclass(frozen=True)
class PrepareResult:
    """What `prepare` made.

    Attributes:
        run_id: The MLflow run.
        prepared: The sets by name.
    """

    run_id: str
    prepared: dict[str, Prepared]


def prepare_sets(config: PrepareConfig) -> PrepareResult:
    """Prepare the sets a configuration names, in one tracked run.

    Raises:
        ConfigError: A name is unknown, or a source is given for several sets.
        DataError: A download is absent or not what it should be.
    """
    root = resolve_data_root(config.data_root)
    sets = resolve_datasets(config.dataset)
    sources = _sources(sets, config, root)
    prepared: dict[str, Prepared] = {}
    with tracked("prepare", config, f"prepare {config.dataset}", {"data_root_used": root}) as run:
        if any(dataset.drawn for dataset in sets) and not config.source:
            layouts.write_drawn(root / DRAWN_FOLDER, scale=config.scale)
        for dataset in sets:
            done = prepared[dataset.name] = _prepared(dataset, sources[dataset.name], root, config.framing)
            _log(run, dataset, done, root)
            refusal = _log_sheet(run, dataset, done.manifest, root, config.allow_unattributed)
            print(_told(dataset, done, refusal))
            if dataset.credits:
                pictures = {row.source_name: root / row.path for row in done.manifest.images}
                for difference in differences_from_list(dataset.credits, pictures):
                    print(f"  {difference}")
    return PrepareResult(run.id, prepared)


def _prepared(dataset: DataSet, source: Path | None, root: Path, framing: str) -> Prepared:
    """Prepare a set from its download or, where that is gone, take it as it was prepared."""
    detector = center_face if framing == "auto" and dataset.framing else None
    if source:
        return prepare(dataset, source, root, detector)
    if done := load_prepared(dataset, root, framing=framing_name(detector)):
        return done
    raise missing_download(dataset, root)


def ensure_prepared(sets: list[DataSet], root: Path) -> None:
    """Prepare, in a run of their own, those sets that are not prepared yet.

    Raises:
        DataError: A set's download is in none of its usual places.
    """
    missing = unprepared(sets, root)
    if missing:
        prepare_sets(PrepareConfig(dataset="+".join(dataset.name for dataset in missing), data_root=str(root)))


def unprepared(sets: list[DataSet], root: Path) -> list[DataSet]:
    """Return the sets not prepared by this version, having made sure that each can be prepared.

    Raises:
        DataError: A set's download is in none of its usual places.
    """
    missing = [dataset for dataset in sets if not is_prepared(root, dataset.name)]
    for dataset in missing:
        if not dataset.drawn and not dataset.download and find_source(dataset, "", root) is None:
            raise missing_download(dataset, root)
    return missing


def _sources(sets: list[DataSet], config: PrepareConfig, root: Path) -> dict[str, Path | None]:
    """Return where each set comes from, having brought it there where that is possible.

    Returns:
        The places by name; None for a set that is prepared already and whose download is gone.
    """
    if config.source and len(sets) > 1:
        raise ConfigError("source belongs to one data set: prepare the sets one by one")
    sources: dict[str, Path | None] = {}
    for dataset in sets:
        if dataset.drawn and not config.source:
            sources[dataset.name] = dataset.default_paths(root)[0]
            continue
        sources[dataset.name] = find_source(dataset, config.source, root)
        if sources[dataset.name] is None and not is_prepared(root, dataset.name):
            if not dataset.download:
                raise missing_download(dataset, root)
            sources[dataset.name] = dataset.download(root)
            if dataset.credits:
                print(credits_message(root))
    return sources


def _log(run: TrackedRun, dataset: DataSet, prepared: Prepared, root: Path) -> None:
    name, manifest = dataset.name, prepared.manifest
    log_dataset(run, manifest, root, "prepared")
    run.file(manifest_path(root, name), f"manifests/{name}")
    run.file(summary_path(root, name), f"manifests/{name}")
    figures = {
        f"{name}/images/{split}/{expression}": float(count)
        for split, counts in manifest.counts().items()
        for expression, count in counts.items()
    }
    run.metrics({**figures, f"{name}/images": len(manifest.images)})
    run.metrics({f"{name}/{key}": count for key, count in preparation_counts(root, name).items()})
    run.tags({dataset_tag(name, DIGEST): manifest.digest, dataset_tag(name, TERMS): dataset.terms or "free"})


def _log_sheet(run: TrackedRun, dataset: DataSet, manifest: Manifest, root: Path, allow_unattributed: bool) -> str:
    """Log a contact sheet of a set, with credits where its licences ask for them, or return why there is none."""
    shown, place = _spread(manifest), f"contact_sheets/{dataset.name}.png"
    if dataset.showable:
        pictures = {expression: [_small(row, root) for row in rows] for expression, rows in shown.items()}
        run.figure(contact_sheet(pictures, dataset.title), place)
        return ""
    if not dataset.credits:
        return "its pictures may not be shown"
    paths = [row.path for rows in shown.values() for row in rows]
    credits = credits_of(manifest, root)
    unresolved = sum(not credits[path].resolved for path in paths)
    if unresolved and not allow_unattributed:
        return (
            f"{unresolved} of its {len(paths)} pictures are unresolved: {REFRESH_HINT}, or give allow_unattributed=true"
        )
    credited = {
        expression: [CreditedPicture(_small(row, root), credits[row.path]) for row in rows]
        for expression, rows in shown.items()
    }
    run.figure(credited_sheet(credited, dataset.title), place)
    return ""


def _small(row: ImageRow, root: Path) -> Image.Image:
    """Return a picture for a contact sheet, for which the pictures of a whole sheet are in memory at once."""
    picture = read_framed(row, root)
    picture.thumbnail((LARGEST_SHOWN, LARGEST_SHOWN))
    return picture


def _spread(manifest: Manifest) -> dict[str, list[ImageRow]]:
    """Return images spread evenly over each expression's part of the manifest."""
    spread = {}
    for expression in EXPRESSIONS:
        rows = [row for row in manifest.images if row.expression == expression]
        spread[expression] = rows[:: max(len(rows) // SHOWN, 1)][:SHOWN]
    return spread


def _told(dataset: DataSet, prepared: Prepared, refusal: str) -> str:
    """Return what a person should know of a prepared set, and why there is no contact sheet, if so."""
    state = "already prepared" if prepared.reused else f"prepared from {prepared.source}"
    lines = [f"{dataset.title}: {len(prepared.manifest.images)} images, {state}, digest {prepared.manifest.digest}"]
    header = "".join(f"{name:>11}" for name in EXPRESSIONS)
    lines.append(f"  {'':12}{header}")
    for split, counts in prepared.manifest.counts().items():
        lines.append(f"  {split:12}" + "".join(f"{count:>11}" for count in counts.values()))
    for reason, count in prepared.summary()["left_out_reasons"].items():
        first = next(name for name, why in prepared.left_out if why == reason)
        lines.append(f"  left out: {count} x {reason} (such as {first})")
    for note, count in prepared.summary()["repaired_or_converted"].items():
        lines.append(f"  repaired or converted: {count} x {note}")
    for how, count in prepared.summary()["framed"].items():
        lines.append(f"  framed: {count} x {how}")
    if prepared.differences:
        lines.append("  not the complete set: " + ", ".join(prepared.differences))
    if refusal:
        lines.append(f"  no contact sheet: {refusal}")
    return "\n".join(lines)
