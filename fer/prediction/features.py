"""Write the features of faces, what enters a network's last layer, as a table for other programs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow
import pyarrow.csv
import pyarrow.parquet
import torch
from torch import Tensor
from tqdm import tqdm

from fer.config.commands import FeaturesConfig
from fer.data.datasets.base import DataSet
from fer.data.datasets.registry import resolve_prepared
from fer.data.manifest import Manifest, read_manifest
from fer.data.packing import PackedImages, pack
from fer.errors import ConfigError, DataError, quoted, quoted_path
from fer.evaluation.datasets import outputs
from fer.models.backbones import Encoder
from fer.models.files import load_encoder
from fer.portable.images import UnusableImage
from fer.prediction import files
from fer.prediction.recogniser import find_faces, resized, to_images
from fer.tracking.models import fetch_network
from fer.tracking.naming import resolve_alias
from fer.training.devices import full_fp32, pick_device
from fer.utils.atomic import move_into_place, staging_folder
from fer.utils.paths import manifest_path, model_file_name, printable, resolve_data_root

WRITERS = {".parquet": pyarrow.parquet.ParquetWriter, ".csv": pyarrow.csv.CSVWriter}
"""What writes a table, by its file's ending."""
ROWS = 2048
"""Rows that are in memory together: the features of a large set need not fit."""
SET_COLUMNS = dict.fromkeys(("dataset", "path", "sha256", "split", "expression", "person", "angle"), "string")
PICTURE_COLUMNS = {"picture": "string", "face": "int32", **dict.fromkeys((*files.BOX_COLUMNS, "score"), "float32")}
"""Columns before the features, with their types: of prepared sets, and of pictures."""

Rows = tuple[list[tuple[Any, ...]], Tensor]
"""The cells of some rows before the features, and the features, float32 `(N, d)` on the CPU."""


@dataclass(frozen=True)
class FeaturesResult:
    """A table of features.

    Attributes:
        file: The table.
        sidecar: The file of its description.
        description: What it holds and of what it was made.
    """

    file: Path
    sidecar: Path
    description: dict[str, Any]


def write_features(config: FeaturesConfig) -> FeaturesResult:
    """Write a row for each face: where it comes from, and what enters the network's last layer.

    Faces are framed, resized and normalised as where the model is tested. The table is made whole or not at all.

    Raises:
        ConfigError: Neither sets nor pictures are named, or both, or the output cannot be such a file.
        DataError: A set is not prepared, or there is no face.
        ModelError: The model does not exist, or has no features.
        Interrupted: A signal came; nothing is left.
    """
    if bool(config.dataset) == bool(config.image):
        raise ConfigError("features of what? give either dataset=<prepared sets> or image=<a picture or a folder>")
    address = resolve_alias(config.model)
    file = _output_file(config, address)
    root = resolve_data_root(config.data_root)
    sets = resolve_prepared(config.dataset, root) if config.dataset else []
    manifests = [read_manifest(manifest_path(root, dataset.name)) for dataset in sets]
    # Before the model is downloaded, which may take minutes.
    pictures = files.list_pictures(files.existing_path(config.image), file) if config.image else []
    device = pick_device(config.device)
    skipped: dict[str, str] = {}
    with staging_folder(file) as staging:
        encoder, _ = fetch_network(address, staging / "model", load_encoder)
        encoder.to(device)
        if sets:
            rows = _of_sets(encoder, manifests, root, device, config.batch_size)
        else:
            rows = _of_pictures(encoder, config, pictures, device, skipped)
        with _Table(staging / file.name, SET_COLUMNS if sets else PICTURE_COLUMNS, encoder.features) as table:
            for cells, features in rows:
                table.write(cells, features)
        if not table.rows:
            first = next((f": of {len(skipped)} files {name}: {reason}" for name, reason in skipped.items()), "")
            raise DataError(f"there is no face to take features of{first}")
        described = _description(encoder, address, table.rows, skipped, sets, manifests)
        sidecar = file.with_name(f"{file.name}.json")
        staged = staging / sidecar.name
        staged.write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        # The description last: whoever finds it finds the table it describes.
        move_into_place(staging / file.name, file)
        move_into_place(staged, sidecar)
    return FeaturesResult(file, sidecar, described)


def _output_file(config: FeaturesConfig, address: str) -> Path:
    output = config.output or f"features-{model_file_name(address)}.parquet"
    file = Path(output).expanduser().resolve()
    if file.suffix not in WRITERS:
        raise ConfigError(f"output must end in {' or '.join(WRITERS)}, not {quoted(file.name)}")
    if file.is_dir():
        raise ConfigError(f"output {quoted_path(file)} is a folder: name a file")
    return file


def _of_sets(
    encoder: Encoder,
    manifests: Sequence[Manifest],
    root: Path,
    device: torch.device,
    batch_size: int,
) -> Iterator[Rows]:
    """Yield the rows of whole sets, in their manifests' order."""
    spec = encoder.spec
    for manifest in manifests:
        # As `evaluate_sets` does: as sharp as the training faces, whatever this set's own size.
        images = PackedImages([(manifest, pack(manifest, root, spec.crop_size))], device)
        every = torch.arange(len(images.rows))
        for indices in tqdm(torch.split(every, ROWS), manifest.dataset, unit="part", disable=len(every) <= ROWS):
            cells = []
            for row in (manifest.images[index] for index in indices.tolist()):
                identity = (row.path, row.sha256, row.split, row.expression, row.person, row.angle)
                cells.append((manifest.dataset, *identity))
            yield cells, outputs(encoder, images, indices, spec.image_size, batch_size)


def _of_pictures(
    encoder: Encoder,
    config: FeaturesConfig,
    pictures: Sequence[Path],
    device: torch.device,
    skipped: dict[str, str],
) -> Iterator[Rows]:
    """Yield the rows of each picture's faces, the main face first; note the files that have none in `skipped`."""
    image = files.existing_path(config.image)
    folder = image if image.is_dir() else image.parent
    for path in tqdm(pictures, "features", unit="file", disable=len(pictures) == 1):
        name = printable(str(path.relative_to(folder)))
        try:
            faces = files.use_picture(path, partial(find_faces, spec=encoder.spec, framing=config.framing))
        except UnusableImage as error:
            skipped[name] = str(error)
            continue
        if not faces:
            skipped[name] = files.NO_FACE
        # A crowd in one batch could exhaust a small GPU's memory.
        for start in range(0, len(faces), config.batch_size):
            batch = faces[start : start + config.batch_size]
            with torch.inference_mode(), full_fp32():
                features = encoder(resized(to_images(batch, device), encoder.spec.image_size)).cpu()
            numbers = range(start + 1, start + 1 + len(batch))
            yield [(name, n, *face.box, face.score) for n, face in zip(numbers, batch, strict=True)], features


class _Table:
    """A table on the disk that grows by rows, `ROWS` at a time.

    Args:
        path: The file, whose ending tells its format.
        columns: Names and types of the columns before the features.
        features: Number of features, in the columns f0, f1, ...

    Attributes:
        rows: How many have been written.
    """

    def __init__(self, path: Path, columns: dict[str, str], features: int) -> None:
        fields = [(name, pyarrow.type_for_alias(kind)) for name, kind in columns.items()]
        fields += [(f"f{number}", pyarrow.float32()) for number in range(features)]
        self.schema = pyarrow.schema(fields)
        self.writer = WRITERS[path.suffix](path, self.schema)
        self.rows = 0
        self.cells: list[tuple[Any, ...]] = []
        self.features: list[Tensor] = []

    def __enter__(self) -> "_Table":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._flush()
        self.writer.close()

    def write(self, cells: Sequence[tuple[Any, ...]], features: Tensor) -> None:
        """Add rows: their cells, and their features `(N, d)`."""
        self.rows += len(cells)
        self.cells += cells
        self.features.append(features)
        if len(self.cells) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        if self.cells:
            columns = [*zip(*self.cells, strict=True), *torch.cat(self.features).float().T.numpy()]
            arrays = [pyarrow.array(values, of.type) for values, of in zip(columns, self.schema, strict=True)]
            self.writer.write(pyarrow.Table.from_arrays(arrays, schema=self.schema))
            self.cells, self.features = [], []


def _description(
    encoder: Encoder,
    address: str,
    rows: int,
    skipped: dict[str, str],
    sets: Sequence[DataSet],
    manifests: Sequence[Manifest],
) -> dict[str, Any]:
    """Return what a table holds and of what it was made, as JSON takes it."""
    spec = encoder.spec
    terms = [*spec.terms, *(dataset.terms for dataset in sets)]
    return {
        "rows": rows,
        "features": f"f0 to f{encoder.features - 1}: the inputs of the network's last layer, in its order",
        "model": address,
        "arch": spec.arch,
        "image_size": spec.image_size,
        "crop_size": spec.crop_size,
        "framing": spec.framing,
        "trained_on": list(spec.trained_on),
        "expressions": list(spec.expressions),
        "digests": {manifest.dataset: manifest.digest for manifest in manifests},
        "skipped": skipped,
        "terms": list(dict.fromkeys(filter(None, terms))),
    }
