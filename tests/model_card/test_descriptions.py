from dataclasses import replace

import numpy as np

from fer.evaluation.report import Report, report
from fer.expressions import EXPRESSIONS
from fer.model_card.card import Origin
from fer.model_card.descriptions import accuracy_rows, model_description, run_description
from fer.models.backbones import ModelSpec

ORIGIN = Origin(
    name="fer",
    model_id="m-1",
    spec=ModelSpec("resnet18", 64, trained_on=("raf",), terms=("*research* only",)),
    weights=7,
    init="my_weights.ckpt",
    chosen="epoch 2 of 3, the best by validation accuracy (0.5000)",
    run_id="0123",
    code="commit 0",
    day="2026-11-27",
)


def small_report() -> Report:
    """All is right but neutral, which was taken for surprise; no picture shows fear."""
    labels = [code for code in range(7) if code != 1 for _ in range(2)]
    return report(labels, np.eye(7)[[0 if code == 6 else code for code in labels]])


def lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_the_table_has_accuracy_class_mean_and_every_expression_in_per_cent() -> None:
    text = run_description("What it was.", accuracy_rows({"my_set": small_report()}))
    head, _, row = (line.strip("| ").split("|") for line in lines(text, "|"))
    assert [cell.strip() for cell in head] == ["data set", "images", "accuracy", "class mean", *EXPRESSIONS]
    assert [cell.strip() for cell in row] == [
        r"my\_set", "12", "83.3", "83.3", "100.0", "-", "100.0", "100.0", "100.0", "100.0", "0.0",
    ]  # fmt: skip


def test_a_warning_stands_above_the_table_and_holds_no_mark_up() -> None:
    text = run_description(
        "What it was.", accuracy_rows({"raf": small_report()}), {"raf": "1 of 3 *seen*"}, ["A [note](#/x)."]
    )
    (warning,) = lines(text, ">")
    assert warning == r"> **Warning:** raf: 1 of 3 \*seen\*"
    assert text.index("What it was.") < text.index(warning) < text.index("| data set") < text.index("A [note](#/x).")


def test_without_tests_there_is_no_table() -> None:
    assert run_description("What it was.").strip() == "What it was."


def test_a_model_says_what_it_is_its_figures_its_use_and_its_terms() -> None:
    text = model_description(ORIGIN, {"raf": small_report()}, {}, "#/card", "#/run")
    for part in ("`resnet18`", r"my\_weights.ckpt", "trained on raf", "(#/card)", "(#/run)", "`models:/m-1`"):
        assert part in text
    assert r"**Terms it inherits:** \*research\* only." in text
    assert "**Intended use:** research" in text
    assert len(lines(text, "|")) == 3
    assert "drawn" not in text


def test_a_model_of_drawn_faces_says_so() -> None:
    origin = replace(ORIGIN, spec=ModelSpec("resnet18", 64, trained_on=("drawn-raf",)))
    text = model_description(origin, {}, {}, "", "")
    assert "saw only faces drawn by a program" in text
    assert "**Terms it inherits:** none are known." in text
