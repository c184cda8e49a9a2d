import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from fer.evaluation import report as reporting
from fer.evaluation.names import flatten
from fer.expressions import EXPRESSIONS
from tests.predictions import cases, draw, good, nan


@cases
def test_report_agrees_with_scikit_learn_class_by_class(seed, count, absent):
    labels, probabilities = draw(seed, count, absent)
    answers = probabilities.argmax(axis=1)
    result = reporting.report(labels, probabilities)
    recalls = sk.recall_score(labels, answers, labels=range(7), average=None, zero_division=np.nan)
    for code, name in enumerate(EXPRESSIONS):
        number = int((labels == code).sum())
        assert result.support[name] == number
        if number == 0:
            assert result.recall[name] is None
            assert result.recall_interval[name] is None
        else:
            hits = int(((labels == code) & (answers == code)).sum())
            assert result.recall[name] == pytest.approx(recalls[code])
            assert_allclose(result.recall_interval[name], proportion_confint(hits, number, method="wilson"), atol=1e-12)
    assert result.accuracy == pytest.approx(sk.accuracy_score(labels, answers))
    low, high = result.macro_f1_interval
    assert 0 <= low <= high <= 1


def test_report_intervals_surround_the_figures_of_84_images():
    result = reporting.report(*draw(0))
    for name in ("accuracy", "class_mean", "macro_f1"):
        low, high = getattr(result, f"{name}_interval")
        assert low < getattr(result, name) < high
        assert 0.1 < high - low < 0.3


def test_equal_probabilities_answer_the_first_class():
    result = reporting.report([0, 3], np.full((2, 7), 1 / 7))
    assert_array_equal(result.confusion[:, 0], [1, 0, 0, 1, 0, 0, 0])
    assert result.ece == pytest.approx(0.5 - 1 / 7)


def test_rows_within_tolerance_are_scaled():
    labels, probabilities = draw(0)
    assert reporting.report(labels, probabilities * 1.0005).nll == pytest.approx(
        reporting.report(labels, probabilities).nll
    )


def test_scalars_name_every_figure_and_leave_out_what_is_absent():
    labels, probabilities = draw(1, 60, absent=(1,))
    result = reporting.report(labels, probabilities)
    scalars = result.scalars()
    stems = ["accuracy", "class_mean", "macro_f1"]
    expected = {"images", "ece", "nll", "brier", *(f"support/{name}" for name in EXPRESSIONS)}
    expected |= {stem + end for stem in stems for end in ("", "_low", "_high")}
    expected |= {f"{name}{end}" for name in EXPRESSIONS if name != "fear" for end in ("", "_low", "_high")}
    assert set(scalars) == expected
    assert all(type(value) is float and np.isfinite(value) for value in scalars.values())
    assert scalars["support/fear"] == 0
    assert scalars["anger"] == result.recall["anger"]
    assert (scalars["anger_low"], scalars["anger_high"]) == result.recall_interval["anger"]
    assert (scalars["macro_f1_low"], scalars["macro_f1_high"]) == result.macro_f1_interval


def test_report_survives_json():
    result = reporting.report(*draw(2, 30, absent=(0,)))
    stored = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert stored["expressions"] == list(EXPRESSIONS)
    assert "surprise" not in stored
    assert stored["support"]["surprise"] == 0
    assert flatten(stored) == result.scalars()
    assert_array_equal(stored["confusion"], result.confusion)
    assert sum(b["count"] for b in stored["bins"]) == 30


def test_equal_predictions_give_equal_reports():
    first, again = (reporting.report(*draw(0)).to_dict() for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([], np.zeros((0, 7)), "^labels must be 0 integers, one at least"),
        ([0, 7], good, "^labels must lie in 0-6"),
        ([0, -1], good, "^labels must lie in 0-6"),
        ([0.0, 1.0], good, "^labels must be 2 integers, .* float64"),
        ([[0, 1]], good, "^labels must be 2 integers"),
        ([0], good, "^labels must be 2 integers"),
        ([0, 1], good[0], "^probabilities must be an"),
        ([0, 1], nan, "^probabilities must be finite"),
        ([0, 1], good - np.eye(2, 7), "^probabilities must be finite and not negative"),
        ([0, 1], good * [[1.0], [1.002]], "^probabilities must sum to 1 .* row 1 sums to 1.002"),
        ([0, 1], np.full((2, 8), 1 / 8), "^probabilities must have a column per expression, 7, not 8"),
    ],
)
def test_report_refuses_malformed_input_by_name(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        reporting.report(labels, probabilities)


def test_reports_table_aligns_its_columns():
    wikimedia, one = reporting.report(*draw(0)), reporting.report([1], np.eye(7)[[1]])
    lines = reporting.reports_table({"swav": {"wikimedia": wikimedia}, "a-longer-name": {"one": one}}).splitlines()
    assert len({len(line) for line in lines}) == 1
    header, _, first, second = lines
    for name in EXPRESSIONS:
        end = header.index(name) + len(name)
        share = wikimedia.recall[name]
        assert first[:end].endswith(f" {share * 100:.1f}")
        assert second[:end].endswith(" 100.0" if name == "fear" else " -")
    low, high = proportion_confint(round(wikimedia.accuracy * 84), 84, method="wilson")
    assert f" {wikimedia.accuracy * 100:.1f} [{low * 100:.1f}, {high * 100:.1f}] " in first
    assert first.split()[:3] == ["swav", "wikimedia", "84"]
    assert second.split()[:3] == ["a-longer-name", "one", "1"]
    assert first.split()[-1] == f"{wikimedia.class_mean * 100:.1f}"


def test_reports_table_explains_answers_with_a_corrected_prior_where_it_shows_some():
    result = reporting.report(*draw(0))
    plain = reporting.reports_table({"swav": {"raf": result}})
    assert "divided by the share" not in plain
    both = reporting.reports_table({"swav": {"raf": result, "raf/uniform_prior": result}}).splitlines()
    assert [line.split()[1] for line in both[2:4]] == ["raf", "raf/uniform_prior"]
    assert both[4:] == ["", "uniform_prior: each probability divided by the share that the model gives it on average"]


def test_reports_table_of_nothing_is_its_header():
    assert reporting.reports_table({}).splitlines()[0].split()[:2] == ["run", "data"]
