"""How often `seeds_test` calls equal configurations different, and how often it finds a true difference.

Needs no data. Right and wrong answers are drawn from a probit model: an image has its difficulty, a configuration its
own view of each image, a seed its quality, and each answer its chance. Equal configurations have equal expected
accuracies also where their seeds vary unequally. Beside it stands Clark's min F' with the seeds' variances pooled,
which was used before. Under `better` A's expected accuracy is 2.8 standard errors higher, which a test that knew the
variances would find in 80 of 100 pairs.

    python benchmarks/seeds.py --pairs 2000
"""

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr

from fer.comparison.seeds import seeds_test
from fer.evaluation.metrics import Floats

DIFFICULTY, OWN_VIEW, CHANCE = 1.0, 0.5, 1.0
"""Standard deviations in the probit model of image, configuration x image, and single answer."""
ACCURACY = 0.65


@dataclass(frozen=True)
class Case:
    """What is compared.

    Attributes:
        runs: Seeds of A and of B.
        between: Standard deviations of A's and of B's seeds in the probit model; 0.1 moves accuracy by 2.4 points.
        images: Test images.
        better: A's expected accuracy minus B's.
    """

    runs: tuple[int, int]
    between: tuple[float, float]
    images: int = 400
    better: float = 0.0


CASES = [
    Case(runs, between, images)
    for images in (400, 3000)
    for runs in ((2, 2), (3, 3), (5, 5), (5, 2), (3, 1))
    for between in ((0.0, 0.0), (0.1, 0.1), (0.03, 0.1))
]


def pair(generator: np.random.Generator, case: Case) -> tuple[Floats, Floats]:
    """Draw whether the runs of two configurations are right, `(seeds, images)` of 0 and 1 each."""
    difficulty = DIFFICULTY * generator.normal(size=case.images)
    sides = []
    for runs, between, accuracy in zip(case.runs, case.between, (ACCURACY + case.better, ACCURACY), strict=True):
        # Dividing by the whole deviation makes the expected accuracy the same however much seeds vary.
        whole = (DIFFICULTY**2 + OWN_VIEW**2 + between**2 + CHANCE**2) ** 0.5
        level = float(ndtri(accuracy)) * whole
        view = OWN_VIEW * generator.normal(size=case.images)
        quality = between * generator.normal(size=(runs, 1))
        chance = CHANCE * generator.normal(size=(runs, case.images))
        sides.append((level + difficulty + view + quality + chance > 0).astype(np.float64))
    return sides[0], sides[1]


def standard_error(case: Case) -> float:
    """Return the standard error of the difference of mean accuracies, roughly, from the model's parts."""
    slope = float(np.exp(-(ndtri(ACCURACY) ** 2) / 2)) / (2 * np.pi) ** 0.5 / 1.5
    answers = [(OWN_VIEW**2 + CHANCE**2 / runs) / case.images for runs in case.runs]
    seeds = [between**2 / runs for between, runs in zip(case.between, case.runs, strict=True)]
    return slope * sum(answers + seeds) ** 0.5


def min_f(first: Floats, second: Floats) -> float:
    """Return p of min F' with the seeds' variances pooled over both sides."""
    gain = first.mean(axis=0) - second.mean(axis=0)
    images, freedom_images = float(gain.var(ddof=1)) / len(gain), len(gain) - 1
    freedom_seeds = len(first) + len(second) - 2
    squares = sum(float(side.mean(axis=1).var()) * len(side) for side in (first, second))
    seeds = squares / freedom_seeds * (1 / len(first) + 1 / len(second))
    freedom = (images + seeds) ** 2 / (images**2 / freedom_images + seeds**2 / freedom_seeds)
    return 2 * float(stdtr(freedom, -abs(float(gain.mean())) / (images + seeds) ** 0.5))


def shown(case: Case, pairs: int, seed: int) -> tuple[float, float]:
    """Return in how many of 100 pairs the two tests say p < 0.05: `seeds_test`, then min F'."""
    generator = np.random.default_rng(seed)
    found = np.zeros(2)
    one_class = np.zeros(case.images, dtype=np.int64)
    for _ in range(pairs):
        first, second = pair(generator, case)
        found += seeds_test(first, second, one_class).p < 0.05, min_f(first, second) < 0.05
    ours, clarks = (100 * found / pairs).tolist()
    return ours, clarks


def main() -> None:
    """Print a line per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000, help="simulated pairs per figure")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("            seeds' deviation   equal: called different    better by 2.8 errors: found")
    print("images  seeds     A     B      quasi-F       min F'        quasi-F       min F'")
    for case in CASES:
        equal = shown(case, given.pairs, given.seed)
        better = Case(case.runs, case.between, case.images, 2.8 * standard_error(case))
        power = shown(better, given.pairs, given.seed + 1)
        seeds = f"{case.runs[0]}/{case.runs[1]}"
        figures = "".join(f"{figure:13.1f}" for figure in (*equal, *power))
        print(f"{case.images:6}  {seeds:>5}  {case.between[0]:4.2f}  {case.between[1]:4.2f}{figures}", flush=True)


if __name__ == "__main__":
    main()
