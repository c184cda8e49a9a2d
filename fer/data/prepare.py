"""Prepare a data set: check every picture of a download, copy it into the common tree and write the manifest.

Everything is made in a draft beside the tree, and the manifest comes last: a set without one counts as not prepared.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from fer.data.archives import unpack
from fer.data.copying import LeftOut, copy_checked
from fer.data.datasets.base import DataSet, Scan, WrongFolder
from fer.data.framing import frame_all
from fer.data.manifest import Manifest
from fer.data.prepared import (
    FORMAT_VERSION,
    Prepared,
    count_differences,
    fingerprint,
    first_of_each_reason,
    load_prepared,
)
from fer.errors import LONGEST_PATH, DataError, quoted, shortened
from fer.expressions import EXPRESSIONS, code_of
from fer.portable.detection import Detector
from fer.utils.paths import data_lock, manifest_path, summary_path, translate_disk_errors

MANIFEST, SUMMARY, UNPACKED = "manifest.csv", "summary.json", "unpacked"  # inside a draft

MakeDetector = Callable[[], Detector]


def prepare(
    dataset: DataSet,
    source: Path,
    root: Path,
    detector: MakeDetector | None = None,
) -> Prepared:
    """Prepare one data set; a second call with an unchanged download and tree does nothing.

    Args:
        dataset: What to prepare.
        source: The download: a folder, a zip or tar archive of one, or a table where the set takes one.
        root: The data root.
        detector: Makes what frames the pictures of sets that ask for it; None keeps all pictures as they come.

    Raises:
        DataError: The download is not this set's or holds no usable picture, the detector is not installed, or the disk
            is full or may not be written.
    """
    if dataset.framing is None:
        detector = None
    with translate_disk_errors(root):
        scan = dataset.scan(source) if source.is_dir() or dataset.is_table(source) else None
        if scan:
            _refuse_own_tree(dataset, source, scan, root)
        wanted = fingerprint(dataset, source, scan)
        with data_lock(root, dataset.name):
            done = load_prepared(dataset, root, wanted, framing_name(detector))
            if done:
                return done
            _refuse_foreign_tree(dataset, root)
            # Beside the tree, where there is room for the set if anywhere.
            with tempfile.TemporaryDirectory(prefix=f".{dataset.name}-", dir=root) as name:
                draft = Path(name)
                if scan is None:
                    (draft / UNPACKED).mkdir()
                    unpack(source, draft / UNPACKED)
                    scan = _scan_unpacked(dataset, source, draft / UNPACKED)
                if scan.understood:
                    tqdm.write(f"{source}: {scan.understood}")
                prepared = _make_draft(dataset, source, scan, draft, detector)
                summary = {"version": FORMAT_VERSION, "fingerprint": wanted, **prepared.summary()}
                (draft / SUMMARY).write_text(json.dumps(summary, indent=1, ensure_ascii=False), encoding="utf-8")
                prepared.manifest.write(draft / MANIFEST)
                _replace_tree(dataset, root, draft)
                return prepared


def framing_name(detector: MakeDetector | None) -> str:
    """Return the value of the option `framing` that a detector, or none, amounts to."""
    return "auto" if detector else "none"


def _refuse_own_tree(dataset: DataSet, source: Path, scan: Scan, root: Path) -> None:
    """Refuse a download in the place of the prepared pictures: it would be deleted with the old ones.

    Raises:
        DataError: A picture lies there.
    """
    trees = tuple(f"{root.resolve() / part / dataset.name}/" for part in ("train", "test"))
    inside = next((candidate.path for candidate in scan.candidates if str(candidate.path).startswith(trees)), None)
    if inside:
        fault = f"{inside} lies where the prepared pictures of {dataset.name} go, which replace what is there"
        raise DataError(f"source {source}: {fault}: move your pictures to another folder, or take another name")


def _refuse_foreign_tree(dataset: DataSet, root: Path) -> None:
    """Refuse to replace a folder that holds more than prepared pictures: it may be somebody's only copy.

    Raises:
        DataError: One does.
    """
    ours = {str(code_of(expression)) for expression in EXPRESSIONS}
    for part in ("train", "test"):
        tree = root / part / dataset.name
        others = sorted(path.name for path in tree.glob("*") if path.name not in ours)
        if others:
            place = f"{tree} is where the prepared pictures go, which replace what is there"
            raise DataError(f"{place}, but it holds {quoted(others[0])}: move it away, or choose another data_root")


def _scan_unpacked(dataset: DataSet, archive: Path, folder: Path) -> Scan:
    """Scan an unpacked archive, below the folders it may have been packed with."""
    while True:
        try:
            return dataset.scan(folder)
        except DataError as error:
            # macOS adds its own folder to every archive.
            inside = [path for path in folder.iterdir() if path.is_dir() and path.name != "__MACOSX"]
            if len(inside) != 1 or not isinstance(error, WrongFolder):
                # The folder is temporary: the user knows the archive only.
                raise DataError(f"the archive {archive}: {str(error).replace(str(folder), 'it')}") from None
            folder = inside[0]


def _make_draft(
    dataset: DataSet,
    source: Path,
    scan: Scan,
    draft: Path,
    detector: MakeDetector | None,
) -> Prepared:
    """Copy, check and frame the pictures of a download."""
    try:
        rows, left_out = copy_checked(dataset, scan, draft)
    except DataError as error:
        # Of an archive within an archive: the folder it was unpacked into is temporary.
        raise DataError(str(error).replace(f"{draft / UNPACKED}/", f"{source}: ")) from None
    if not rows:
        raise DataError(f"{source} holds no usable picture of {dataset.title}{_main_fault(left_out)}")
    if detector and dataset.framing:
        rows = frame_all(rows, draft, dataset.framing, detector())
    manifest = Manifest(dataset.name, rows.sorted_by("path"))
    # Who is known from training would flatter the figures on test.
    overlap = manifest.of("train", "test").person_overlap()
    if overlap:
        people = ", ".join(sorted(overlap))
        raise DataError(f"{dataset.title}: people stand in both training and test: {shortened(people, LONGEST_PATH)}")
    return Prepared(
        manifest=manifest,
        source=str(source),
        framing=framing_name(detector),
        left_out=first_of_each_reason(left_out),
        left_out_reasons=dict(Counter(reason for _, reason in left_out)),
        differences=count_differences(dataset, manifest),
        reused=False,
    )


def _main_fault(left_out: LeftOut) -> str:
    """Return the most frequent reason and its first picture, to end a sentence with."""
    if not left_out:
        return ""
    most_frequent, _ = Counter(reason for _, reason in left_out).most_common(1)[0]
    first = next(name for name, reason in left_out if reason == most_frequent)
    return f"; the most frequent fault: {first}: {most_frequent}"


def _replace_tree(dataset: DataSet, root: Path, draft: Path) -> None:
    """Put the draft in the old tree's place."""
    # All that needs room was written into the draft; a full disk does not stop the renaming that is left half-way.
    manifest = manifest_path(root, dataset.name)
    parts = ("train", "test")
    for folder in (manifest.parent, *(root / part for part in parts)):
        folder.mkdir(parents=True, exist_ok=True)
    manifest.unlink(missing_ok=True)
    for part in parts:
        tree = root / part / dataset.name
        new_tree = draft / part / dataset.name
        # The old tree goes with the draft.
        if tree.exists():
            tree.rename(draft / f"old-{part}")
        if new_tree.exists():
            new_tree.rename(tree)
    (draft / SUMMARY).replace(summary_path(root, dataset.name))
    (draft / MANIFEST).replace(manifest)
