"""Export of a classifier as one file, ONNX or torch.export's, whose probabilities are compared with the network's.

Input `images`: float32 `(batch, 3, S, S)`, RGB in [0, 255], `S` the side at which the model cuts faces out. Output
`probabilities`: float32 `(batch, 7)`. Enlarging to the network's own size, the normalisation of pixels and the
temperature are inside; finding and cutting out faces is not.
"""

import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer.data.augment import resize
from fer.errors import ConfigError, Interrupted, ModelError
from fer.models.backbones import Classifier, ModelSpec

INPUT = "images"
OUTPUT = "probabilities"
BATCH = "batch"
ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}
METADATA = "metadata.json"
"""Name of the extra file in a torch.export archive."""
CHECKED = (1, 3, 32)
"""Batch sizes over which a file is compared with the network."""
TOLERANCE = 1e-4
"""How far a probability may differ: programs order sums differently, which costs some 1e-7 in float32."""
ONNX_PACKAGES = ("onnx", "onnxscript")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Predict = Callable[[Tensor], Tensor]
"""Maps images to probabilities."""


class Probabilities(nn.Module):
    """Maps cut faces to probabilities: enlarging before the classifier, temperature and softmax behind."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.temperature = classifier.spec.temperature
        self.image_size = classifier.spec.image_size

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities `(N, 7)` of images `(N, 3, S, S)`, RGB in [0, 255]."""
        logits: Tensor = self.classifier(resize(images, self.image_size))
        return (logits / self.temperature).softmax(1)


@dataclass(frozen=True)
class Exported:
    """A file that was written and compared.

    Attributes:
        form: Format and version, such as `ONNX opset 20`.
        difference: The largest difference of a probability over the batches that were compared.
        metadata: The metadata in the file.
    """

    form: str
    difference: float
    metadata: dict[str, Any]


def check_packages(form: str) -> None:
    """Refuse a format whose packages are not installed.

    Raises:
        ConfigError: As said.
    """
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if form == "onnx" and missing:
        needs = " and ".join(missing)
        cure = "install the extra with `uv sync --extra export`, or take format=torch"
        raise ConfigError(f"format=onnx needs {needs}: {cure}")


def export(classifier: Classifier, form: str, path: Path, address: str) -> Exported:
    """Write a classifier's network as a file and compare the file's predictions with the network's.

    Args:
        classifier: On the CPU, in evaluation mode.
        form: `onnx` or `torch`.
        path: The file.
        address: Where the classifier comes from, for the record.

    Raises:
        ModelError: The network cannot be written in this format, or the file predicts otherwise.
    """
    network = Probabilities(classifier).eval()
    side = classifier.spec.crop_size
    metadata = make_metadata(classifier.spec) | {"source": address}
    try:
        # An example of one picture would fix the batch at one.
        example = torch.zeros(2, 3, side, side)
        any_batch = {INPUT: {0: torch.export.Dim(BATCH)}}
        program = torch.export.export(network, (example,), dynamic_shapes=any_batch)
        write = _write_onnx if form == "onnx" else _write_torch
        version, predict = write(program, path, metadata)
        difference = largest_difference(network, predict, side)
    # Exporters and runtimes raise of many kinds, and wrap what comes from elsewhere, signals included.
    except Exception as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        if isinstance(root, Interrupted):
            raise root from None
        reason = " ".join(_COLOUR.sub("", str(root)).split())[:200]
        raise ModelError(f"{classifier.spec.arch} cannot be exported with format={form}: {reason}") from None
    if difference > TOLERANCE:
        fault = f"differ from the model's by up to {difference:.1e} (tolerance {TOLERANCE:.0e})"
        raise ModelError(f"the exported file was removed, for its predictions {fault}: try the other format")
    return Exported(version, difference, metadata)


def make_metadata(spec: ModelSpec) -> dict[str, Any]:
    """Return what a file tells about its model."""
    return {
        "expressions": list(spec.expressions),
        "crop_size": spec.crop_size,
        "image_size": spec.image_size,
        "input": f"{INPUT}: float32 ({BATCH}, 3, {spec.crop_size}, {spec.crop_size}), RGB in [0, 255]",
        "output": f"{OUTPUT}: float32 ({BATCH}, {len(spec.expressions)}), in the order of expressions",
        "framing": spec.framing,
        "arch": spec.arch,
        "temperature": spec.temperature,
        "trained_on": list(spec.trained_on),
        "terms": list(spec.terms),
    }


def _write_onnx(
    program: torch.export.ExportedProgram,
    path: Path,
    metadata: dict[str, Any],
) -> tuple[str, Predict]:
    """Write an ONNX file; return its version, and its predictions as a program that reads it gets them."""
    import onnxruntime  # type: ignore[import-untyped]

    written: Any = torch.onnx.export(
        program,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={INPUT: {0: BATCH}},
        verbose=False,
    )
    # ONNX's metadata are texts.
    for key, value in metadata.items():
        written.model.metadata_props[key] = value if isinstance(value, str) else _json(value)
    written.save(path, external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def predict(images: Tensor) -> Tensor:
        (probabilities,) = session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(probabilities)

    return f"ONNX opset {written.model.opset_imports['']}", predict


def _write_torch(
    program: torch.export.ExportedProgram,
    path: Path,
    metadata: dict[str, Any],
) -> tuple[str, Predict]:
    """Write a torch.export archive; return its version, and its predictions as a program that reads it gets them."""
    torch.export.save(program, path, extra_files={METADATA: _json(metadata)})
    predict = torch.export.load(path).module()
    return f"torch.export of torch {torch.__version__}", predict


@torch.inference_mode()
def largest_difference(network: nn.Module, predict: Predict, side: int) -> float:
    """Return how far two networks' probabilities differ at most, over random batches of the sizes in `CHECKED`."""
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for count in CHECKED:
        # Coarse patches of colour with noise: noise alone looks the same to a network everywhere.
        coarse = torch.rand(count, 3, 4, 4, generator=generator)
        patches = F.interpolate(coarse, (side, side), mode="bilinear")
        noise = torch.rand(count, 3, side, side, generator=generator)
        images = 255 * (0.8 * patches + 0.2 * noise)
        difference = (predict(images) - network(images)).abs()
        # max() alone would pass over NaN.
        difference = difference.nan_to_num(nan=float("inf"))
        largest = max(largest, difference.max().item())
    return largest


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
