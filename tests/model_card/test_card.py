import ast
import json
import re
import subprocess
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import yaml

from fer.attribution.credits import API, Credit
from fer.evaluation.names import UNIFORM_PRIOR
from fer.evaluation.report import Report, report
from fer.expressions import EXPRESSIONS
from fer.model_card.card import Origin, card_files, headline
from fer.models.backbones import ModelSpec
from tests.predictions import draw

TERMS = ("RAF-DB: research only", "swav-imagenet: CC BY-NC 4.0")
SPEC = ModelSpec(
    "resnet18", 64, trained_on=("raf", "ferplus"), terms=TERMS, training_counts=tuple(range(100, 107)), temperature=1.37
)
ORIGIN = Origin(
    "fer", "m-0123", SPEC, 11_180_103, "swav-imagenet", "epoch 3 of 5, the best by validation accuracy (0.8461)",
    "ab12", "commit `e6a5b69`", "2026-11-25",
)  # fmt: skip
CREDIT = Credit(
    "1/Face.jpg", "", "File:Face.jpg", "https://commons.wikimedia.org/wiki/File:Face.jpg", "A. Painter", "CC BY 4.0",
    looked_up="2026-11-24", source=API,
)  # fmt: skip


PARTS = {"wikimedia": "test", "kdef": "whole"}


@pytest.fixture(scope="module")
def tests() -> dict[str, Report]:
    sizes = {"wikimedia": 84, "kdef": 400, f"kdef/{UNIFORM_PRIOR}": 400, "kdef/frontal": 84}
    return {name: report(*draw(seed, count)) for seed, (name, count) in enumerate(sizes.items())}


def card_of(tests: dict[str, Report], origin: Origin = ORIGIN) -> str:
    """The card of a model tested on these sets."""
    parts = {name: PARTS.get(name, "test") for name in tests if "/" not in name}
    return card_files(origin, parts, tests, [])["README.md"]


def head_of(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def section(card: str, title: str) -> str:
    return card.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]


def shown(value: float, interval: tuple[float, float]) -> str:
    return f"{value * 100:.1f} [{interval[0] * 100:.1f}, {interval[1] * 100:.1f}]"


def test_the_head_is_yaml_with_the_keys_that_model_hubs_read(tests):
    card = card_of(tests)
    assert card.startswith("---\n")
    head = head_of(card)
    assert (head["license"], head["license_name"], head["license_link"]) == ("other", "inherited-terms", "LICENSE.md")
    assert head["datasets"] == ["raf", "ferplus"]
    assert head["metrics"] == ["accuracy", "f1"]
    assert {"facial-expression-recognition", "resnet18"} <= set(head["tags"])
    free = head_of(card_of({}, replace(ORIGIN, spec=ModelSpec("resnet18", 64))))
    assert free["license"] == "apache-2.0"
    assert not {"license_name", "datasets", "model-index"} & free.keys()


@pytest.mark.parametrize("name", ["no", "12:30", "1e-3", 'a "quoted": name', "visage 🙂 été", "- #x"])
def test_any_name_survives_the_head(name, tests):
    assert head_of(card_of(tests, replace(ORIGIN, name=name)))["model-index"][0]["name"] == name


def test_machines_find_every_sets_figures_in_the_head(tests):
    (index,) = head_of(card_of(tests))["model-index"]
    assert [result["dataset"]["name"] for result in index["results"]] == ["wikimedia", "kdef"]
    for result, name in zip(index["results"], PARTS, strict=True):
        tested = tests[name]
        found = {metric["name"]: metric["value"] for metric in result["metrics"]}
        assert found["Accuracy"] == pytest.approx(tested.accuracy, abs=5e-5)
        assert found["Mean of the class accuracies"] == pytest.approx(tested.class_mean, abs=5e-5)
        assert found["Macro F1"] == pytest.approx(tested.macro_f1, abs=5e-5)
        assert found["Expected calibration error"] == pytest.approx(tested.ece, abs=5e-5)


def test_the_headline_shows_each_reports_figures_with_their_intervals(tests):
    table = headline(card_of(tests))
    assert len({len(line) for line in table.splitlines()}) == 1, "a terminal shows it aligned"
    _, _, *rows = cells(table)
    assert [row[0] for row in rows] == list(tests)
    for row, result in zip(rows, tests.values(), strict=True):
        assert row[1:] == [
            str(result.count),
            shown(result.accuracy, result.accuracy_interval),
            shown(result.class_mean, result.class_mean_interval),
            shown(result.macro_f1, result.macro_f1_interval),
            f"{result.ece * 100:.1f}",
            f"{result.nll:.3f}",
        ]


def test_each_set_is_shown_by_expression_with_support_interval_and_usual_mistake():
    labels, probabilities = draw(5, 60, absent=(1,))
    result = report(labels, probabilities)
    text = section(card_of({"wikimedia": result}), "Figures")
    _, _, *rows = cells(text.partition("test set\n")[2])
    assert [row[0] for row in rows] == list(EXPRESSIONS)
    answers = probabilities.argmax(axis=1)
    for code, (name, count, share, mistaken) in enumerate(rows):
        assert int(count) == (labels == code).sum()
        if name == "fear":
            assert (share, mistaken) == ("-", "-")
            continue
        assert share == shown(result.recall[name], result.recall_interval[name])
        wrong = Counter(int(a) for a in answers[labels == code] if a != code)
        assert wrong[EXPRESSIONS.index(mistaken)] == max(wrong.values())


def answered(rates: dict[str, float], count: int = 200) -> Report:
    """A report in which each expression is recognised at its rate, and taken for the next one otherwise."""
    labels = np.repeat(range(7), count)
    right = np.concatenate([np.arange(count) < rates[name] * count for name in EXPRESSIONS])
    return report(labels, np.eye(7)[np.where(right, labels, (labels + 1) % 7)])


@pytest.mark.parametrize("bad", [("fear",), ("anger", "disgust"), EXPRESSIONS, ()])
def test_the_weak_expressions_are_those_of_the_figures(bad):
    rates = {name: 0.3 if name in bad else 0.8 for name in EXPRESSIONS}
    limits = section(card_of({"raf": answered(rates)}), "Limits")
    (weak,) = re.findall(r"Known weak on .*", limits) or [""]
    assert {name for name in EXPRESSIONS if f"{name} 30.0 [" in weak} == set(bad)
    assert weak.count(" %") == len(bad)
    if "fear" in bad:
        assert "most often taken for disgust" in weak


def test_the_margin_of_small_sets_is_said_and_not_that_of_large_ones():
    small, large = (report(*draw(0, count)) for count in (84, 5000))
    limits = section(card_of({"wikimedia": small, "raf": large}), "Limits")
    low, high = small.accuracy_interval
    assert f"The 84 pictures of `wikimedia` carry about ±{50 * (high - low):.0f} points" in limits
    assert 9 <= 50 * (high - low) <= 11
    assert "5,000 pictures" not in limits


def test_limits_say_what_the_labels_are_not_and_what_the_model_never_saw(tests):
    limits = section(card_of(tests), "Limits")
    for words in ("posed or acted", "not feelings", "no diagnosis", "intent", "Not for decisions about people"):
        assert words in limits
    assert "drawn by a program" not in limits
    drawn = replace(ORIGIN, spec=replace(SPEC, trained_on=("drawn-raf",)))
    assert "drawn by a program" in section(card_of({}, drawn), "Limits")


def test_how_it_was_made_is_told(tests):
    made = section(card_of(tests), "What it is and how it was made")
    for fact in ("resnet18", "64 x 64", "swav-imagenet", "RAF-DB", "FER+", "epoch 3 of 5", "ab12", "e6a5b69", "1.370",
                 "11,180,103", "721: 100 surprise", "cut out upright"):  # fmt: skip
        assert fact in made, fact
    small = section(card_of(tests, replace(ORIGIN, spec=replace(SPEC, crop_size=48))), "What it is and how it was made")
    assert "cut out at 48 x 48 pixels and enlarged to 64 x 64" in small
    hostile = card_of(tests, replace(ORIGIN, init="a|b`c\n## d"))
    assert cells(section(hostile, "What it is and how it was made"))[5] == ["starting weights", "`a/bc ## d`"]


def test_inherited_terms_stand_in_card_and_licence(tests):
    files = card_files(ORIGIN, PARTS, tests, [])
    for term in TERMS:
        assert term in section(files["README.md"], "Terms it inherits")
        assert term in files["LICENSE.md"]
    free = card_files(replace(ORIGIN, spec=ModelSpec("resnet18", 64)), PARTS, tests, [])
    assert "None:" in free["LICENSE.md"]


def test_the_wikimedia_pictures_are_credited_where_they_were_used(tests):
    files = card_files(ORIGIN, PARTS, tests, [CREDIT])
    assert "A. Painter" in files["attribution.html"]
    assert "(attribution.html)" in section(files["README.md"], "Credits")
    assert set(card_files(ORIGIN, PARTS, tests, [])) == {"README.md", "LICENSE.md"}
    assert "attribution.html" not in card_of(tests)


def test_the_ways_to_use_it_are_sound(tests):
    usage = section(card_of(tests), "How to use it")
    assert usage.count("models:/m-0123") == 3, "another version would be another model"
    programs = re.findall(r"```python\n(.*?)```", usage, re.DOTALL)
    assert len(programs) == 2
    assert all(ast.parse(program) for program in programs)
    (request,) = re.findall(r"^(printf .*) \"\$\(base64.*$", usage, re.MULTILINE)
    sent = subprocess.run(["sh", "-c", f'{request} "QUJD"'], capture_output=True, check=True).stdout
    assert json.loads(sent) == {"dataframe_split": {"columns": ["image"], "data": [["QUJD"]]}}
    assert section(card_of(tests, replace(ORIGIN, name="")), "How to use it") == usage


def test_a_model_that_was_not_tested_says_so():
    card = card_of({})
    assert "not tested" in headline(card)
