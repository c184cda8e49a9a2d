import pytest

from fer.comparison.grouping import group_runs
from tests.comparison.made import labels, run

TRUTH = labels(14)


def one(name="resnet", seed=0, known=None, **config):
    return run(name, {"raf": (TRUTH, TRUTH)}, seed, config=config, **(known or {}))


def grouped(*runs):
    found, remarks = group_runs(runs)
    return [[item.seed for item in group.runs] for group in found], remarks


def test_runs_that_differ_in_seed_and_places_only_are_one_configuration():
    runs = [one(seed=seed, output=f"out-{seed}", config=f"file-{seed}", promote=bool(seed)) for seed in (2, 0, 1)]
    assert grouped(*runs) == ([[0, 1, 2]], [])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"lr": 0.1}, {"lr": 0.2}),
        ({"known": {"training_digests": {"raf": "a"}}}, {"known": {"training_digests": {"raf": "b"}}}),
        ({"known": {"configuration": "a"}}, {"known": {"configuration": "b"}}),
    ],
    ids=["option", "training set", "tag"],
)
def test_another_option_training_set_or_configuration_keeps_runs_apart(first, second):
    assert grouped(one(seed=0, **first), one(seed=1, **second))[0] == [[0], [1]]


def test_experiments_say_themselves_which_runs_are_one_configuration():
    known = {"configuration": "abc", "experiment": "raf-scratch"}
    found, _ = group_runs([one(f"raf-scratch seed {n}", n, known, init=f"runs:/{n}") for n in range(2)])
    assert [group.name for group in found] == ["raf-scratch"]


def test_files_of_one_name_with_other_options_are_no_seeds_of_each_other():
    known = [{"configuration": f"raf-scratch-{n}", "experiment": "raf-scratch"} for n in range(2)]
    runs = [one(f"raf-scratch seed {n}", n, known[n], lr=n) for n in range(2)]
    found, _ = group_runs(runs)
    assert [group.name for group in found] == [f"raf-scratch ({run.id[:8]})" for run in runs]


def test_two_runs_of_one_seed_are_no_repetition():
    groups, (remark,) = grouped(one(seed=0), one(seed=1), one(seed=0, promote=True))
    assert groups == [[0], [1], [0]]
    assert "no two different seeds" in remark


def test_runs_of_equal_names_get_different_ones():
    found, _ = group_runs([one(lr=0.1), run("resnet", {"raf": (TRUTH, TRUTH)}, 1, config={"lr": 0.2})])
    names = [group.name for group in found]
    assert len(set(names)) == 2
    assert all(name == f"resnet ({group.runs[0].id[:8]})" for name, group in zip(names, found, strict=True))


def test_rows_of_the_2021_table_stand_alone_under_a_name_of_their_own():
    told = run("raf-scratch", {}, 0, reported=True, reproduces="raf-scratch")
    ours = one("raf-scratch seed 0", known={"experiment": "raf-scratch"})
    found, _ = group_runs([told, ours])
    assert [(group.name, group.reported) for group in found] == [("raf-scratch (2021)", True), ("raf-scratch", False)]


def test_short_names_stay_short_and_different():
    names = [f"resnet50 pre-trained on a great many faces without labels, {tail}" for tail in ("a", "b")]
    found, _ = group_runs([one(name, lr=n) for n, name in enumerate(names)])
    shorts = [group.short_label(20) for group in found]
    assert len(set(shorts)) == 2
    assert all(len(short) <= 23 for short in shorts)
    assert [group.letter for group in group_runs([one(str(n), lr=n) for n in range(28)])[0]][-2:] == ["AA", "AB"]


def test_a_name_from_right_to_left_is_isolated_in_sentences_and_others_are_left_as_they_are():
    found, _ = group_runs([one("\u202eپنج", lr=0.1), one("b", lr=0.2)])
    assert [group.name for group in found] == ["پنج", "b"]
    assert [group.title for group in found] == ["\u2068پنج\u2069", "b"]
    assert found[0].runs[0].label.startswith("\u2068پنج\u2069 (")
