import numpy as np
import pytest

from fer.experiments import seeds as stats
from fer.experiments.files import ReportedFigures
from fer.experiments.seeds import seed_stats, seed_stats_json, seed_stats_metrics, seed_stats_table
from fer.expressions import EXPRESSIONS


def accuracies(place, value):
    return {f"{place}/accuracy": value, f"{place}/class_mean": value - 0.1} | {
        f"{place}/{name}": value for name in EXPRESSIONS
    }


def seed(value):
    """Figures as a run of `finetune` leaves them, which names images of whole sets, of groups and of parts."""
    metrics = {"kdef/frontal/images": 20.0, "kdef/images": 60.0, "raf/images": 100.0, "train/loss": 1.0}
    metrics |= {"kdef/uniform_prior/images": 60.0, "raf/uniform_prior/images": 100.0}
    for place in ("kdef", "kdef/frontal", "raf"):
        metrics |= accuracies(place, value)
    for place in ("kdef", "raf"):
        metrics |= accuracies(f"{place}/uniform_prior", value - 0.2)
    metrics |= {"raf/contaminated/images": 5.0, "raf/uncontaminated/images": 95.0}
    return metrics | {"raf/uncontaminated/accuracy": 0.4, "raf/uncontaminated/class_mean": 0.4}


def test_sets_are_followed_by_their_uniform_prior_and_parts_of_sets_are_none():
    assert stats.tested_sets(seed(0.7)) == ["kdef", "kdef/uniform_prior", "kdef/frontal", "raf", "raf/uniform_prior"]


def test_a_set_without_the_prior_has_no_row_of_it():
    assert stats.tested_sets({"raf/images": 3.0, "raf/accuracy": 0.5}) == ["raf"]


def test_mean_and_deviation_of_each_row_are_numpys():
    stored = seed_stats_json(seed_stats([seed(0.7), seed(0.8), seed(0.75)]), 3)
    assert stored["seeds"] == 3
    assert stored["figures"]["raf/uniform_prior/accuracy"]["mean"] == pytest.approx(0.55)
    assert stored["figures"]["raf/uniform_prior/fear"]["std"] == pytest.approx(np.std([0.7, 0.8, 0.75], ddof=1))
    assert not [key for key in stored["figures"] if "contaminated" in key]
    assert seed_stats_json(seed_stats([seed(0.7)]), 1)["figures"]["raf/fear"]["std"] is None


def test_the_metrics_of_several_seeds_are_means_under_the_names_of_one_run():
    metrics = seed_stats_metrics(seed_stats([seed(0.7), seed(0.8)]))
    names = ("accuracy", "class_mean", *EXPRESSIONS)
    assert metrics.keys() == {f"{place}/{name}" for place in ("kdef", "raf") for name in names}
    assert metrics["raf/fear"] == pytest.approx(0.75)


def test_the_table_shows_the_uniform_prior_below_its_set():
    told = {"raf": ReportedFigures(0.3862, 3068, {})}
    lines = seed_stats_table(seed_stats([seed(0.7), seed(0.8)]), 2, told).splitlines()[2:]
    assert lines[6] == "" and lines[7].startswith("uniform_prior: ")
    assert [line.split()[0] for line in lines[:6]] == [
        "kdef", "kdef/uniform_prior", "kdef/frontal", "raf", "raf", "raf/uniform_prior"
    ]  # fmt: skip
    assert "reported in 2021" in lines[4]
    assert "38.6" in lines[4]
    assert lines[5].split()[-3:] == ["45.0", "±", "7.1"], "the mean over classes stands last"


@pytest.mark.parametrize(
    ("pretrainings", "seeds", "said"),
    [
        (0, 3, ""),
        (1, 1, ""),
        (1, 3, "all 3 seeds start from one pre-training"),
        (2, 4, "the 4 seeds start from 2 pre-trainings in turn"),
        (3, 3, ""),
    ],
)
def test_the_table_says_how_seeds_share_pre_trainings(pretrainings, seeds, said):
    note = stats.pretraining_note(pretrainings, seeds)
    assert note.strip().startswith(said)
    assert bool(note) == bool(said)
