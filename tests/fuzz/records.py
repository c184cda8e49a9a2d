"""Readers of what the project itself wrote, and somebody may have edited: manifests, summaries, predictions, caches."""

import io
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from fer.attribution.artifact import attribution_files
from fer.attribution.credits import credits_path, load_credits, shipped_credits
from fer.comparison.runs import Predictions, read_predictions
from fer.contamination import signatures
from fer.contamination.matching import Match, cached_matches
from fer.contamination.signatures import ImageSignatures
from fer.data.datasets.own import FORMAT, OwnSet, read_record, record_path
from fer.data.datasets.states import set_states
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.manifest import ImageRow, Manifest, read_manifest
from fer.data.packing import pack
from fer.data.prepare import prepare
from fer.data.prepared import load_prepared, preparation_counts, read_summary
from fer.errors import DataError
from fer.evaluation.names import PREDICTION_COLUMNS
from fer.portable.json_files import parse_json
from fer.utils.paths import manifest_path, summary_path
from tests.fuzz.hostile import Target
from tests.fuzz.mutations import hostile_values, spoilt, spoilt_json

NAME = "wikimedia"


def prepared_root(folder: Path) -> Path:
    """Prepare a set of two pictures under a data root, or return that of an earlier call."""
    root = folder / "data"
    if not root.is_dir():
        for number in (1, 2):
            place = folder / f"download/{number}/a.png"
            place.parent.mkdir(parents=True)
            Image.new("RGB", (20, 20), (200, 90, number)).save(place)
        prepare(WIKIMEDIA, folder / "download", root)
    return root


def restoring(path: Callable[[Path], Path], read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    """Return what puts a content in the place of a prepared set's file, reads it, and puts the file back."""

    def run(content: bytes, folder: Path) -> object:
        root = prepared_root(folder)
        file = path(root)
        before = file.read_bytes()
        file.write_bytes(content)
        try:
            return read(root)
        finally:
            file.write_bytes(before)

    return run


def use_manifest(root: Path) -> Manifest:
    """Read a manifest, and all that commands read of it."""
    manifest = read_manifest(manifest_path(root, NAME))
    assert manifest.digest
    assert manifest.counts() is not None
    assert manifest.person_overlap() is not None
    for row in manifest.images:
        row.square()
        row.distribution()
        assert isinstance(row, ImageRow)
    load_prepared(WIKIMEDIA, root)
    return manifest


def pack_anew(root: Path) -> object:
    """Pack a prepared set of which the manifest is spoilt."""
    packed = pack(read_manifest(manifest_path(root, NAME)), root, 24)
    for file in (root / "packed").iterdir():
        file.unlink()
    return packed


def use_summary(root: Path) -> dict[str, Any]:
    """Read the summary of a prepared set, and all that commands read of it."""
    states = set_states(root)
    assert all(isinstance(state.state, str) for state in states)
    summary = read_summary(root, NAME)
    assert all(isinstance(count, int | float) for count in preparation_counts(root, NAME).values())
    load_prepared(WIKIMEDIA, root)
    return summary


def packed_file(root: Path) -> Path:
    manifest = read_manifest(manifest_path(root, NAME))
    if not (root / "packed").is_dir():
        pack(manifest, root, 24)
    return next((root / "packed").glob("*-24.npy"))


def signatures_file(root: Path) -> Path:
    manifest = read_manifest(manifest_path(root, NAME))
    signatures.image_signatures(manifest, root)
    return next((root / "signatures").glob("*.npz"))


def use_signatures(root: Path) -> ImageSignatures:
    """Read signatures of which the file is spoilt: they are made anew where it is of no use."""
    manifest = read_manifest(manifest_path(root, NAME))
    found = signatures.image_signatures(manifest, root)
    assert len(found) == len(found.small) == len(found.large) == len(found.pixels) == len(manifest.images)
    assert found.small.dtype == found.large.dtype == np.uint8
    return found


def use_matches(root: Path) -> list[Match]:
    """Read matches of which the file is spoilt: they are searched anew where it is of no use."""
    manifest = read_manifest(manifest_path(root, NAME))
    # Near copies of drawn faces are not looked for, which would take most of the time.
    training = replace(signatures.image_signatures(manifest, root), dataset="drawn-raf")
    found = cached_matches(manifest, training, root)
    assert all(isinstance(match, Match) and isinstance(match.correlation, float | int | None) for match in found)
    return found


def matches_file(root: Path) -> Path:
    use_matches(root)
    return next((root / "contamination").glob("*.json"))


def own_record(content: bytes, folder: Path) -> OwnSet:
    """Read the record of a set of somebody's own, and list it beside the others."""
    path = record_path(folder, "mine")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert len(set_states(folder)) > 1
    own = read_record(folder, "mine")
    assert own.dataset().name == "mine"
    return own


def credits_record(content: bytes, folder: Path) -> dict[str, Any]:
    """Read a record of credits, and write the page and the table of what it says."""
    path = credits_path(folder)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    credits = load_credits(folder)
    page = attribution_files(list(credits.values())[:5])
    assert "<script" not in "".join(page.values()).lower()
    return credits


def read_json_text(content: bytes, folder: Path) -> object:
    """Read the JSON of an artifact, as a DataError where it is none."""
    try:
        return parse_json(content)
    except ValueError as error:
        raise DataError(f"config.json of run 0123 is damaged: {error}") from None


def predictions(content: bytes, folder: Path) -> Predictions:
    return read_predictions(content.decode("utf-8", "replace"), "predictions.csv of run 0123")


def sample_texts() -> dict[str, bytes]:
    """The files of a prepared set."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        root = prepared_root(Path(name))
        files = {
            "manifest": manifest_path(root, NAME),
            "summary": summary_path(root, NAME),
            "packed": packed_file(root),
            "signatures": signatures_file(root),
            "matches": matches_file(root),
        }
        return {kind: path.read_bytes() for kind, path in files.items()}


def targets() -> list[Target[Any]]:
    """Return the readers of the project's own files."""
    samples = sample_texts()
    own = {"format": FORMAT, **asdict(OwnSet("mine", "/nowhere", map="rage:anger"))}
    credit = next(iter(shipped_credits().values()), None)
    credits = {"version": 2, "credits": [asdict(credit)] if credit else []}
    header = ",".join(PREDICTION_COLUMNS)
    cells = dict.fromkeys(PREDICTION_COLUMNS, "0.1") | {"true": "fear", "predicted": "anger", "path": "a"}
    table = "\n".join([header, ",".join(cells[name] for name in PREDICTION_COLUMNS)]).encode()
    words = (b"\x1f", b"surprise", b"0.5 0.5 99999 0", b"1e308 1e308 1e308 180", b"neutral:1e999", b"\n", b",,,,")
    return [
        Target(
            "manifests",
            spoilt([samples["manifest"]], words),
            restoring(partial(manifest_path, dataset=NAME), use_manifest),
            Manifest,
            (samples["manifest"],),
        ),
        Target(
            "manifests, packed",
            spoilt([samples["manifest"]], words),
            restoring(partial(manifest_path, dataset=NAME), pack_anew),
            np.ndarray,
            (samples["manifest"],),
        ),
        Target(
            "summaries of prepared sets",
            spoilt_json(json.loads(samples["summary"])),
            restoring(partial(summary_path, dataset=NAME), use_summary),
            dict,
            (samples["summary"],),
        ),
        Target(
            "packed pictures",
            spoilt([samples["packed"]], (b"'<f8'", b"'|O'", b"(1000000000, 24, 24, 3)")),
            restoring(packed_file, lambda root: pack(read_manifest(manifest_path(root, NAME)), root, 24)),
            np.ndarray,
            (samples["packed"],),
        ),
        Target(
            "signatures of images",
            st.one_of(spoilt([samples["signatures"]]), arrays(samples["signatures"])),
            restoring(signatures_file, use_signatures),
            ImageSignatures,
            (samples["signatures"],),
        ),
        Target(
            "matches of images",
            spoilt_json(json.loads(samples["matches"])),
            restoring(matches_file, use_matches),
            list,
            (samples["matches"],),
        ),
        Target("records of own sets", spoilt_json(own), own_record, OwnSet, (json.dumps(own).encode(),)),
        Target("records of credits", spoilt_json(credits), credits_record, dict, (json.dumps(credits).encode(),)),
        Target("predictions.csv", spoilt([table], words), predictions, Predictions, (table,)),
        Target(
            "JSON of runs",
            st.one_of(hostile_values().map(lambda value: json.dumps(value).encode()), spoilt_json({"epochs": 1})),
            read_json_text,
            (dict, list, str, int, float, bool, type(None)),
            (b"{}", b"[1]"),
        ),
    ]


def arrays(sample: bytes) -> st.SearchStrategy[bytes]:
    """Return archives of arrays with one that is gone or of another kind."""
    names = ("version", "paths", "people", "pixels", "small", "large")
    others = st.sampled_from(
        (None, np.zeros(3), np.zeros((2, 5), np.uint8), np.array(["a"]), np.array(7), np.zeros((0,)), np.array([b"x"]))
    )

    def build(name: str, other: Any) -> bytes:
        with np.load(io.BytesIO(sample)) as stored:
            values = {key: stored[key] for key in stored.files}
        if other is None:
            del values[name]
        else:
            values[name] = other
        content = io.BytesIO()
        np.savez(content, **values)
        return content.getvalue()

    plain = io.BytesIO()
    np.save(plain, np.zeros(3))
    return st.one_of(st.builds(build, st.sampled_from(names), others), st.just(plain.getvalue()))
