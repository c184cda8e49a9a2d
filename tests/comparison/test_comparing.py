"""Comparisons of hand-made runs whose outcome is known."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from fer.comparison import comparing
from fer.comparison.runs import MEASURES
from fer.comparison.seeds import mean_interval, seeds_test
from fer.comparison.testing import p_text, points
from fer.errors import ConfigError, DataError
from fer.expressions import EXPRESSIONS
from tests.comparison.made import SETS, answers, labels, run

TRUTH = labels(420)
FEW = labels(84)


def compare(*runs, reported=None, baseline=""):
    return comparing.compare(runs, SETS, reported or {}, baseline)


def pair(good=0.8, bad=0.6, truth=TRUTH, dataset="raf", seeds=(0,), **options):
    return [
        run(name, {dataset: (truth, answers(truth, accuracy, 10 * number + seed))}, seed, **options)
        for number, (name, accuracy) in enumerate((("good", good), ("bad", bad)))
        for seed in seeds
    ]


def swapped(truth, first, second, classes):
    """The share of draws in which swapped answers differ as much as the real ones do, by plain loops over draws."""
    weight = np.array([1 / (len(classes) * (truth == c).sum()) for c in truth])
    gain = ((first == truth).astype(int) - (second == truth)) * weight
    coins = np.random.default_rng(9).choice([-1, 1], size=(4000, len(truth)))
    return np.mean(np.abs(coins @ gain) >= abs(gain.sum()) - 1e-12)


def test_runs_that_differ_clearly_are_told_apart_and_the_better_one_is_named():
    for runs in (pair(), pair()[::-1]):
        found = compare(*runs)
        ((sentence,),) = found.verdicts.values()
        assert sentence.startswith("good is better than bad on RAF-DB (420 images): accuracy +")
        assert sentence.count("], p < 0.001, adjusted p < 0.001") == 2


def test_runs_that_do_not_differ_cannot_be_told_apart_and_the_smallest_difference_is_named():
    (sentence,) = compare(*pair(0.65, 0.63, FEW, "wikimedia")).verdicts["wikimedia"]
    assert sentence.startswith("good and bad cannot be told apart on 84 images of Wikimedia: accuracy +")
    assert "a difference of accuracy under " in sentence
    assert "better" not in sentence


def test_tests_of_single_runs_equal_statsmodels_mcnemar_and_a_randomisation_by_hand():
    first, second = pair(0.7, 0.62)
    accuracy, mean = compare(first, second).tests
    ours, theirs = (item.predictions["raf"].predicted == TRUTH for item in (first, second))
    table = [[(ours & theirs).sum(), (ours & ~theirs).sum()], [(~ours & theirs).sum(), (~ours & ~theirs).sum()]]
    assert accuracy.p == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert (accuracy.only_first, accuracy.only_second) == (table[0][1], table[1][0])
    assert accuracy.estimate == pytest.approx(ours.mean() - theirs.mean())
    assert accuracy.low < accuracy.estimate < accuracy.high
    given = [item.predictions["raf"].predicted for item in (first, second)]
    assert mean.p == pytest.approx(swapped(TRUTH, *given, range(7)), abs=0.02)
    recall = [[(given[n] == TRUTH)[c == TRUTH].mean() for c in range(7)] for n in (0, 1)]
    assert mean.estimate == pytest.approx(np.mean(recall[0]) - np.mean(recall[1]))


def test_every_p_is_corrected_for_all_tests_of_the_report():
    runs = [
        run(name, {key: (truth, answers(truth, share, n)) for key, truth in (("raf", TRUTH), ("wikimedia", FEW))}, n)
        for n, (name, share) in enumerate((("a", 0.8), ("b", 0.72), ("c", 0.71)))
    ]  # fmt: skip
    tests = compare(*runs).tests
    assert len(tests) == 3 * 2 * 2
    expected = multipletests([test.p for test in tests], method="holm")[1]
    assert [test.adjusted_p for test in tests] == pytest.approx(list(expected))


def test_with_a_baseline_all_others_are_compared_with_it_alone():
    runs = [run(name, {"raf": (TRUTH, answers(TRUTH, 0.7, n))}, config={"lr": n}) for n, name in enumerate("abc")]
    for word in ("b", "B", runs[1].id[:6]):
        found = compare(*runs, baseline=word)
        assert {(test.first.name, test.second.name) for test in found.tests} == {("a", "b"), ("c", "b")}
    with pytest.raises(ConfigError, match="unknown baseline 'good'"):
        compare(*runs, baseline="good")


def test_three_seeds_each_are_one_row_with_mean_and_deviation_and_one_test_over_seeds_and_images():
    runs = pair(0.75, 0.7, seeds=(0, 1, 2))
    found = compare(*runs)
    assert [one.name for one in found.configurations] == ["good", "bad"]
    right = [[item.predictions["raf"].predicted == TRUTH for item in runs[start : start + 3]] for start in (0, 3)]
    for row, side in zip(found.rows, right, strict=True):
        shares = [answer.mean() for answer in side]
        assert row.measurements["accuracy"].value == pytest.approx(np.mean(shares))
        assert row.measurements["accuracy"].deviation == pytest.approx(np.std(shares, ddof=1))
        low, high = row.measurements["accuracy"].interval
        assert low < np.mean(shares) < high
    accuracy, _ = found.tests
    averaged = [np.mean(side, axis=0) for side in right]
    images = np.var(averaged[0] - averaged[1], ddof=1) / 420
    seeds = sum(np.var([answer.mean() for answer in side], ddof=1) / 3 for side in right)
    residual = sum(np.var(np.array(side) - mean, axis=1, ddof=1).sum() / 420 / 6
                   for side, mean in zip(right, averaged, strict=True))  # fmt: skip
    error = max(images + seeds - residual, images, seeds) ** 0.5
    assert accuracy.method == "quasi-F"
    assert accuracy.p == pytest.approx(2 * stats.norm.sf(abs(accuracy.estimate) / error), rel=0.2, abs=0.01)
    assert any("Clark 1973" in line for line in found.methods)
    assert "This assumes" not in found.verdicts["raf"][0]


def test_one_seed_against_several_is_said_to_rest_on_an_assumption():
    runs = pair(0.75, 0.7, seeds=(0, 1, 2))[:4]
    said = " This assumes that bad, of which there is one seed, varies between seeds as good does."
    for given in (runs, runs[::-1]):
        assert compare(*given).verdicts["raf"][0].endswith(f".{said}")


@pytest.mark.parametrize("kind", ["runs", "persons", "seeds", "one seed", "seeds by person"])
def test_every_interval_excludes_0_exactly_where_the_p_beside_it_is_below_5_percent(kind):
    seen = set()
    persons = [f"P{n % 13}" for n in range(140)] if "person" in kind else ()
    truth, dataset = labels(140), "kdef" if persons else "raf"
    for n in range(15):
        counts = {"seeds": (3, 3), "seeds by person": (3, 2), "one seed": (1, 3)}.get(kind, (1, 1))
        runs = [
            run(name, {dataset: (truth, answers(truth, share, 100 * n + 10 * side + seed))}, seed, persons)
            for side, (name, share) in enumerate((("good", 0.6 + 0.015 * n), ("bad", 0.6)))
            for seed in range(counts[side])
        ]  # fmt: skip
        found = compare(*runs)
        for test in found.tests:
            assert (test.low <= 0 <= test.high) == (test.p >= 0.05)
            shown = f"points [{points(test.low)}, {points(test.high)}], {p_text(test.p)}, adjusted p"
            flipped = f"points [{points(-test.high)}, {points(-test.low)}], {p_text(test.p)}, adjusted p"
            assert shown in found.verdicts[dataset][0] or flipped in found.verdicts[dataset][0]
            seen.add(test.p < 0.05)
    assert seen == {True, False}


def test_what_is_called_better_is_decided_by_the_adjusted_p():
    names = "abcdefg"
    runs = [run(name, {"raf": (TRUTH, answers(TRUTH, 0.7 - 0.06 * (n == 0), n))}) for n, name in enumerate(names)]
    found = compare(*runs)
    only_raw = [test for test in found.tests if test.p < 0.05 <= test.adjusted_p]
    assert only_raw
    for test in only_raw:
        sentence = next(
            line for line in found.verdicts["raf"] if {test.first.name, test.second.name} < set(line.split())
        )
        assert "cannot be told apart" in sentence
        assert f"{p_text(test.p)}, adjusted {p_text(test.adjusted_p)}" in sentence


def test_seeds_of_one_configuration_give_a_table_and_no_test():
    found = compare(*pair(seeds=(0, 1, 2))[:3])
    assert (len(found.configurations), len(found.rows), found.tests) == (1, 1, ())


def test_pictures_of_one_person_count_together():
    truth = labels(420)
    persons = [f"P{n // 105}" for n in range(420)]
    # Three of four people are recognised better by A, the fourth by B: pictures prove it, people do not.
    ours = np.where(np.arange(420) < 315, truth, (truth + 1) % 7)
    theirs = np.where(np.arange(420) >= 315, truth, (truth + 1) % 7)
    found = compare(*(run(n, {"kdef": (truth, a)}, persons=persons) for n, a in (("a", ours), ("b", theirs))))
    accuracy, mean = found.tests
    assert accuracy.p > 0.5
    assert mean.p > 0.5
    assert "by person" in accuracy.method
    assert "cannot be told apart on 420 images of KDEF" in found.verdicts["kdef"][0]
    alone = compare(*(run(n, {"raf": (truth, a)}) for n, a in (("a", ours), ("b", theirs))))
    assert alone.tests[0].p < 0.001


def test_sets_that_share_too_few_images_are_not_tested_and_the_report_says_so():
    first, second = pair()
    other = run("other", {"raf": (TRUTH[1:], TRUTH[1:])}, config={"lr": 9})
    found = compare(first, second, other)
    assert {(test.first.name, test.second.name) for test in found.tests} == {("good", "bad")}
    line = next(line for line in found.warnings if line.startswith("good and other are not tested on RAF-DB: only"))
    assert "of 419 and 420" in line


def test_sets_prepared_differently_are_pointed_out():
    first, second = pair()
    first.tested_digests["raf"], second.tested_digests["raf"] = "aaaa" * 9, "bbbb" * 9
    (line,) = compare(first, second).warnings
    assert "RAF-DB was not prepared alike for all (digests A: aaaaaaaa; B: bbbbbbbb)" in line


def test_one_image_shows_no_difference():
    truth = np.array([3])
    runs = [run("right", {"wikimedia": (truth, truth)}), run("wrong", {"wikimedia": (truth, truth + 1)})]
    found = compare(*runs)
    assert [test.p for test in found.tests] == [1, 1]
    assert found.tests[0].smallest == math.inf
    assert "cannot be told apart on 1 image of Wikimedia" in found.verdicts["wikimedia"][0]
    assert "no difference shows on so few" in found.verdicts["wikimedia"][0]


def test_equal_answers_are_called_equal():
    first, second = (run(name, {"raf": (TRUTH, answers(TRUTH, 0.7, 0))}) for name in "ab")
    assert "they differ on no image" in compare(first, second).verdicts["raf"][0]


def test_a_class_without_samples_has_no_figure_and_no_zero():
    truth = labels(100, absent=(1, 2))
    runs = pair(truth=truth)
    found = compare(*runs)
    for row, item in zip(found.rows, runs, strict=True):
        right = item.predictions["raf"].predicted == truth
        assert row.measurements["fear"].value is None
        assert row.measurements["fear"].interval is None
        expected = np.mean([right[truth == c].mean() for c in (0, 3, 4, 5, 6)])
        assert row.measurements["class_mean"].value == pytest.approx(expected)
    seeded = compare(*pair(truth=truth, seeds=(0, 1)))
    assert seeded.rows[0].measurements["disgust"].value is None


def test_every_figure_of_a_single_run_equals_an_independent_computation():
    item, _ = runs = pair(0.7, 0.6)
    row = compare(*runs).rows[0]
    right = item.predictions["raf"].predicted == TRUTH
    parts = {name: right[n == TRUTH] for n, name in enumerate(EXPRESSIONS)} | {"accuracy": right}
    for name, part in parts.items():
        assert row.measurements[name].value == pytest.approx(part.mean())
        expected = proportion_confint(part.sum(), len(part), method="wilson")
        assert row.measurements[name].interval == pytest.approx(expected)
    assert set(row.measurements) == set(MEASURES)
    assert row.images == "420"
    assert row.support == dict.fromkeys(EXPRESSIONS, 60)


def test_a_single_runs_interval_is_the_one_that_was_logged_and_printed_before():
    more = {"raf/accuracy_low": 0.1, "raf/accuracy_high": 0.9}
    assert compare(*pair(more=more)).rows[0].measurements["accuracy"].interval == (0.1, 0.9)


def test_parts_by_camera_angle_stand_below_their_set_and_are_not_tested():
    more = {"kdef/frontal/accuracy": 0.5, "kdef/frontal/images": 14.0}
    found = compare(*pair(dataset="kdef", more=more))
    assert [row.subset for row in found.rows] == ["kdef", "kdef", "kdef/frontal", "kdef/frontal"]
    assert {test.dataset for test in found.tests} == {"kdef"}


def test_what_was_reported_stands_beside_ours():
    reported = {"row": {"wikimedia": {"accuracy": 0.464286, "fear": 0.083333}}}
    first, second = pair(0.5, 0.4, FEW, "wikimedia", reproduces="row")
    told = run("row", {}, reported=True, reproduces="row", more={"wikimedia/accuracy": 0.464286})
    found = compare(first, second, told, reported=reported)
    cells = found.rows[0].measurements
    assert (cells["accuracy"].reported, cells["fear"].reported, cells["anger"].reported) == (0.464286, 0.083333, None)
    assert found.rows[2].measurements["accuracy"].reported is None
    assert found.rows[2].measurements["accuracy"].value == 0.464286
    assert not [test for test in found.tests if "row" in test.first.name + test.second.name]
    assert found.notes[0].startswith("good on Wikimedia: 50.0%, reported 46.4%, inside our 95 % interval [")
    assert "best on test" in found.notes[-1]


def test_contaminated_test_images_are_warned_of_with_both_figures():
    more = {"raf/contaminated/images": 5.0, "raf/uncontaminated/accuracy": 0.5, "raf/uncontaminated/images": 413.0}
    first, second = pair(more=more | {"raf/contaminated/pretraining_images": 3.0})
    lines = compare(first, second).warnings
    assert lines[0] == (
        "good: 7 of 420 test images of RAF-DB seen in training (3 by pre-training without labels); accuracy 80.0% with "
        "them, 50.0% without."
    )
    assert len(lines) == 2
    assert compare(*pair(more={"raf/contaminated/images": 0.0})).warnings == ()


def test_seeds_that_saw_the_same_images_are_warned_of_once_with_their_mean():
    more = {"raf/contaminated/images": 7.0, "raf/uncontaminated/accuracy": 0.5, "raf/uncontaminated/images": 413.0}
    runs = pair(more=more, seeds=(0, 1, 2))
    runs[1].metrics["raf/uncontaminated/accuracy"] = 0.8
    runs[5].metrics.update({"raf/contaminated/images": 9.0, "raf/uncontaminated/images": 411.0})
    lines = compare(*runs).warnings
    assert [line.split(":")[0] for line in lines] == ["good, seeds 0, 1, 2", "bad, seeds 0, 1", "bad, seeds 2"]
    assert lines[0].endswith("seen in training; accuracy 80.0% with them, 60.0% without.")


def test_what_training_has_seen_is_said_to_be_unknown_where_no_run_tells_it():
    known, asked, silent = (*pair(), run("third", {"raf": (TRUTH, answers(TRUTH, 0.7, 5))}))
    for unknown in (asked, silent):
        del unknown.metrics["raf/contaminated/images"]
    asked.contamination["raf"] = "unknown: the data root holds no training images of raf with digest 12ab"
    assert compare(known, asked, silent).warnings == (
        "bad: whether test images of RAF-DB were seen in training is not known (unknown: the data root holds no "
        "training images of raf with digest 12ab).",
        "third: whether test images of RAF-DB were seen in training is not known (it was not looked for).",
    )


def test_the_uniform_prior_has_a_row_below_its_set():
    more = {"raf/uniform_prior/accuracy": 0.5, "raf/uniform_prior/class_mean": 0.625}
    found = compare(*pair(more=more))
    assert [row.subset for row in found.rows] == ["raf", "raf", "raf/uniform_prior", "raf/uniform_prior"]
    assert [found.rows[2].measurements[name].value for name in ("accuracy", "class_mean")] == [0.5, 0.625]
    assert not [test for test in found.tests if "uniform" in test.dataset]


def test_better_by_one_measure_only_is_said():
    rare = np.array([0] * 900 + [1] * 4)
    ours, theirs = rare.copy(), rare.copy()
    theirs[:60] = 2
    ours[900:] = 2
    first, second = (run(name, {"raf": (rare, given)}) for name, given in (("common", ours), ("rare", theirs)))
    (sentence,) = compare(first, second).verdicts["raf"]
    assert sentence.startswith("common is better than rare on RAF-DB (904 images): accuracy +")
    assert "; not told apart by class mean -" in sentence
    assert ", where a difference of class mean under " in sentence


def test_the_measure_that_decides_is_said_first():
    rare = np.array([0] * 900 + [1] * 40)
    ours, theirs = rare.copy(), rare.copy()
    ours[:40] = theirs[40:70] = theirs[900:912] = 2
    first, second = (run(name, {"raf": (rare, given)}) for name, given in (("one", ours), ("two", theirs)))
    (sentence,) = compare(first, second).verdicts["raf"]
    assert sentence.startswith("one is better than two on RAF-DB (940 images): class mean +")
    assert "; not told apart by accuracy +" in sentence


def test_opposite_measures_are_said():
    rare = np.array([0] * 900 + [1] * 40)
    ours, theirs = rare.copy(), rare.copy()
    theirs[:90] = 2
    ours[900:] = 2
    first, second = (run(name, {"raf": (rare, given)}) for name, given in (("common", ours), ("rare", theirs)))
    (sentence,) = compare(first, second).verdicts["raf"]
    assert sentence.startswith("common is better than rare on RAF-DB (940 images): accuracy +")
    assert "; but worse by class mean -" in sentence


def test_fewer_than_two_runs_are_no_comparison():
    with pytest.raises(ConfigError, match=r"at least two runs with test figures, and only good \([0-9a-f]{8}\) fits"):
        compare(pair()[0])


def test_runs_without_a_common_set_are_refused_with_their_sets():
    first, _ = pair()
    second = run("other", {"wikimedia": (FEW, FEW)})
    with pytest.raises(DataError, match=r"share no test set \(good: raf; other: wikimedia\)"):
        compare(first, second)


def test_too_many_pairs_ask_for_a_baseline():
    runs = [run(f"r{n}", {"wikimedia": (FEW, FEW)}, config={"lr": n}) for n in range(11)]
    with pytest.raises(ConfigError, match="11 configurations make 55 pairs: name the one"):
        compare(*runs)
    assert len(compare(*runs, baseline="r4").verdicts["wikimedia"]) == 10


def test_runs_of_one_pre_training_count_once_where_there_are_several_pre_trainings():
    """Four runs of two pre-trainings are tested as two that are twice as sure, not as four."""
    shares = (0.80, 0.79, 0.70, 0.69)
    first = [
        run("tuned", {"raf": (TRUTH, answers(TRUTH, share, n))}, n, config={"init": f"runs:/{'abba'[n]}"},
            configuration="tuned")
        for n, share in enumerate((shares[0], shares[2], shares[3], shares[1]))
    ]  # fmt: skip
    second = [run("scratch", {"raf": (TRUTH, answers(TRUTH, 0.6, 20 + n))}, n) for n in range(4)]
    found = compare(*first, *second)
    right = [(item.predictions["raf"].predicted == TRUTH).astype(float) for item in first]
    pairs = np.stack([(right[0] + right[3]) / 2, (right[1] + right[2]) / 2])
    theirs = np.stack([item.predictions["raf"].predicted == TRUTH for item in second]).astype(float)
    expected = seeds_test(pairs, theirs, np.zeros_like(TRUTH))
    accuracy, _ = found.tests
    assert (accuracy.p, accuracy.low, accuracy.high) == (expected.p, expected.low, expected.high)
    assert accuracy.p > 2 * seeds_test(np.stack(right), theirs, np.zeros_like(TRUTH)).p
    cell = found.rows[0].measurements["accuracy"]
    assert cell.value == pytest.approx(np.mean(right))
    assert cell.deviation == pytest.approx(np.std([side.mean() for side in right], ddof=1))
    assert cell.interval == mean_interval(pairs, np.zeros_like(TRUTH))
    assert any("The 4 runs of A start from 2 pre-trainings" in line for line in found.methods)


def test_a_pre_training_that_all_runs_share_is_named_and_starting_weights_are_none():
    shared = {"config": {"init": "runs:/abc"}}
    first, second = pair(seeds=(0, 1), **shared)[:2], pair(seeds=(0, 1))[2:]
    (line,) = [line for line in compare(*first, *second).methods if "pre-training" in line]
    assert line.startswith("All runs of A start from one pre-training (runs:/abc): what is said of them holds for that")
    one_each = pair(**shared)
    (line,) = [line for line in compare(*one_each).methods if "pre-training" in line]
    assert line.startswith("All runs of A, B start")
    named = pair(seeds=(0, 1), config={"init": "swav-imagenet"})
    assert not [line for line in compare(*named).methods if "pre-training" in line]
