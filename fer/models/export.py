"""A classifier's network as one file for other programs, ONNX or torch.export's, checked to answer as the network does.

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

INPUT, OUTPUT, BATCH = "images", "probabilities", "batch"
ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}
METADATA = "metadata.json"
"""Name of the extra file in a torch.export archive."""
CHECKED = (1, 3, 32)
"""Batch sizes over which a file is compared with the network."""
TOLERANCE = 1e-4
"""How far a probability may differ: programs order sums differently, which costs some 1e-7 in float32."""
NEEDED = ("onnx", "onnxscript")

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Answers = Callable[[Tensor], Tensor]
"""Images in, probabilities out."""


class Probabilities(nn.Module):
    """A classifier from cut faces to probabilities: enlarging before it, temperature and softmax behind."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.temperature = classifier.spec.temperature
        self.image_size = classifier.spec.image_size

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities `(N, 7)` of images `(N, 3, S, S)`, RGB in [0, 255]."""
        scores: Tensor = self.classifier(resize(images, self.image_size)) / self.temperature
        return scores.softmax(1)


@dataclass(frozen=True)
class Exported:
    """What is known of a written file.

    Attributes:
        form: Which version of the format it is in, such as `ONNX opset 20`.
        difference: The largest difference of a probability over the batches that were compared.
        metadata: What the file says of itself.
    """

    form: str
    difference: float
    metadata: dict[str, Any]


def check_packages(form: str) -> None:
    """Refuse a format whose packages are not installed.

    Raises:
        ConfigError: As said.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if form == "onnx" and missing:
        raise ConfigError(
            f"format=onnx needs {' and '.join(missing)}: install the extra with `uv sync --extra export` (or "
            "`pip install '.[export]'`), or take format=torch"
        )


def export(classifier: Classifier, form: str, path: Path, address: str) -> Exported:
    """Write a classifier's network as a file and compare the file's answers with the network's.

    Args:
        classifier: On the CPU, in evaluation mode.
        form: `onnx` or `torch`.
        path: The file.
        address: Where the classifier comes from, for the record.

    Raises:
        ConfigError: Packages are missing.
        ModelError: The network cannot be written in this format, or the file answers otherwise.
    """
    check_packages(form)
    network, side = Probabilities(classifier).eval(), classifier.spec.crop_size
    metadata = described(classifier.spec) | {"source": address}
    write = {"onnx": _write_onnx, "torch": _write_torch}[form]
    try:
        # An example of one picture would fix the batch at one.
        example = torch.zeros(2, 3, side, side)
        program = torch.export.export(network, (example,), dynamic_shapes={INPUT: {0: torch.export.Dim(BATCH)}})
        version, answers = write(program, path, metadata)
        difference = largest_difference(network, answers, side)
    except Exception as error:  # exporters and runtimes raise of many kinds, and wrap what comes from elsewhere
        root = _root(error)
        if isinstance(root, Interrupted):
            raise root from None
        why = " ".join(_COLOUR.sub("", str(root)).split())[:200]
        raise ModelError(f"{classifier.spec.arch} cannot be exported with format={form}: {why}") from None
    if difference > TOLERANCE:
        raise ModelError(
            f"the exported file was removed, for its answers differ from the model's by up to {difference:.1e} "
            f"(tolerance {TOLERANCE:.0e}): try the other format"
        )
    return Exported(version, difference, metadata)


def _root(error: BaseException) -> BaseException:
    """Return what an error was first raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def described(spec: ModelSpec) -> dict[str, Any]:
    """Return what a file says of itself."""
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


def _write_onnx(program: torch.export.ExportedProgram, path: Path, metadata: dict[str, Any]) -> tuple[str, Answers]:
    """Write an ONNX file, its metadata as text; return its version, and what it answers once it is read again."""
    import onnxruntime  # type: ignore[import-untyped]

    written: Any = torch.onnx.export(
        program, input_names=[INPUT], output_names=[OUTPUT], dynamic_shapes={INPUT: {0: BATCH}}, verbose=False
    )
    for key, value in metadata.items():
        written.model.metadata_props[key] = value if isinstance(value, str) else _json(value)
    written.save(path, external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def answers(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])

    return f"ONNX opset {written.model.opset_imports['']}", answers


def _write_torch(program: torch.export.ExportedProgram, path: Path, metadata: dict[str, Any]) -> tuple[str, Answers]:
    """Write a torch.export archive; return its version, and what it answers once it is read again."""
    torch.export.save(program, path, extra_files={METADATA: _json(metadata)})
    network = torch.export.load(path).module()
    return f"torch.export of torch {torch.__version__}", network


@torch.inference_mode()
def largest_difference(network: nn.Module, answers: Answers, side: int) -> float:
    """Return how far two networks' probabilities differ at most, over random batches of the sizes in `CHECKED`.

    The pictures are coarse patches of colour with noise: noise alone looks the same to a network everywhere.
    """
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for count in CHECKED:
        patches = F.interpolate(torch.rand(count, 3, 4, 4, generator=generator), (side, side), mode="bilinear")
        noise = torch.rand(count, 3, side, side, generator=generator)
        images = 255 * (0.8 * patches + 0.2 * noise)
        away = (answers(images) - network(images)).abs()
        worst = max(worst, away.nan_to_num(nan=float("inf")).max().item())  # max() alone would pass over NaN
    return worst


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
