"""Hand-made runs: labels and answers from which everything a run stores is made."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence

import numpy as np

from fer.comparison.runs import RunFigures, read_predictions
from fer.evaluation.report import report
from fer.expressions import EXPRESSIONS

SETS = {
    "raf": ("RAF-DB", ()),
    "kdef": ("KDEF", ("frontal", "half-profile", "full-profile")),
    "ferplus": ("FER+", ()),
    "wikimedia": ("Wikimedia", ()),
}


def labels(count: int, absent: Sequence[int] = ()) -> np.ndarray:
    """Classes in turn, without the absent ones."""
    present = [number for number in range(7) if number not in absent]
    return np.array([present[number % len(present)] for number in range(count)])


def answers(truth: np.ndarray, accuracy: float, seed: int, alike: int = 0) -> np.ndarray:
    """Answers right with this probability; `alike` is the seed of the images' own difficulty."""
    hard = np.random.default_rng(alike).normal(size=len(truth))
    own = np.random.default_rng(1000 + seed).normal(size=len(truth))
    right = (hard + own) / 2**0.5 < np.quantile((hard + own) / 2**0.5, accuracy)
    return np.where(right, truth, (truth + 1) % 7)


def predictions(truth: np.ndarray, given: np.ndarray, persons: Sequence[str] = (), prefix: str = "test/raf") -> str:
    """The content of a `predictions.csv`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "sha256", "person", "angle", "true", "predicted", *EXPRESSIONS])
    for number, (true, answer) in enumerate(zip(truth, given, strict=True)):
        person = persons[number] if persons else ""
        place = f"{prefix}/{true + 1}/{number}.png"
        writer.writerow(
            [place, f"{number:064x}", person, "", EXPRESSIONS[true], EXPRESSIONS[answer], *np.eye(7)[answer]]
        )
    return text.getvalue()


def metrics(dataset: str, truth: np.ndarray, given: np.ndarray) -> dict[str, float]:
    """The metrics `evaluate` logs of a set."""
    return {f"{dataset}/{key}": value for key, value in report(truth, np.eye(7)[given]).scalars().items()}


def run(
    name: str, sets: Mapping[str, tuple[np.ndarray, np.ndarray]], seed: int = 0, persons: Sequence[str] = (), **options
) -> RunFigures:
    """A run with answers on sets: labels and answers by set. `persons` are those of KDEF."""
    config = {"seed": seed, "lr": 0.001, "arch": name, **options.pop("config", {})}
    made = {
        key: read_predictions(predictions(*pair, persons=persons if key == "kdef" else ()), key)
        for key, pair in sets.items()
    }
    figures = {metric: value for key, pair in sets.items() for metric, value in metrics(key, *pair).items()}
    figures |= {f"{key}/contaminated/images": 0.0 for key in sets}
    identity = hashlib.sha256(f"{name} {seed} {config}".encode()).hexdigest()[:32]
    return RunFigures(
        id=options.pop("id", identity),
        name=name,
        config=config,
        metrics=figures | options.pop("more", {}),
        predictions=made,
        **options,
    )
