"""The figures the 2021 project reported, as `experiments/reported.yaml` keeps them."""

import math
from dataclasses import dataclass
from typing import Any

from fer.errors import ConfigError, shortened
from fer.experiments.files import FOLDER, REPORTED
from fer.expressions import EXPRESSIONS
from fer.utils.yaml_files import read_yaml


@dataclass(frozen=True)
class ReportedFigures:
    """Figures reported of one set of images.

    Attributes:
        accuracy: Fraction of right predictions, in [0, 1].
        images: Their number.
        per_class: Accuracy by expression, in [0, 1]; empty where it was not reported.
        minutes: Training time to the epoch reported; None where unknown.
        of_minutes: Time of the whole training; None where unknown.
    """

    accuracy: float
    images: int
    per_class: dict[str, float]
    minutes: float | None = None
    of_minutes: float | None = None

    def scalars(self) -> dict[str, float]:
        """Return the figures under the names `Report.scalars` gives ours."""
        flat = {"images": float(self.images), "accuracy": self.accuracy}
        if self.per_class:
            flat |= {f"accuracy/{name}": value for name, value in self.per_class.items()}
            flat["mean_class_accuracy"] = math.fsum(self.per_class.values()) / len(self.per_class)
        return flat


@dataclass(frozen=True)
class ReportedRow:
    """One line of the 2021 table.

    Attributes:
        name: The experiment's; a file of that name runs it again.
        note: Its title in the table.
        settings: How it was trained, by the names of our options where there are such.
        figures: By data set.
    """

    name: str
    note: str
    settings: dict[str, Any]
    figures: dict[str, ReportedFigures]


def read_reported() -> dict[str, ReportedRow]:
    """Read the reported rows, by name, in the table's order.

    Raises:
        ConfigError: The file is not there or not in order.
    """
    path = FOLDER / f"{REPORTED}.yaml"
    content = read_yaml(str(path))
    try:
        rows = [_read_row(entry, content["protocol"], content["images"]) for entry in content["runs"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} is damaged ({type(error).__name__}: {shortened(str(error))}): restore it from the repository"
        ) from None
    return {row.name: row for row in rows}


def _read_row(entry: dict[str, Any], protocol: dict[str, Any], images: dict[str, int]) -> ReportedRow:
    figures = {}
    for dataset, values in entry["figures"].items():
        scalars = {key: float(value) for key, value in values.items() if key != "per_class"}
        fractions = [float(value) for value in values.get("per_class", ())]
        per_class = dict(zip(EXPRESSIONS, fractions, strict=True)) if fractions else {}
        figures[dataset] = ReportedFigures(images=int(images[dataset]), per_class=per_class, **scalars)
    settings = {**protocol, **entry["settings"]}
    return ReportedRow(str(entry["name"]), str(entry["note"]), settings, figures)
