from types import SimpleNamespace

import pytest

from fer.config.training import PretrainConfig
from fer.pipeline.descriptions import SHOWN, describe_compared, describe_pretrained, describe_stages
from fer.pipeline.stages import Stage
from fer.tracking.endings import MAX_DESCRIPTION
from fer.tracking.runs import NullRun

RUN = NullRun()
RUN.id, RUN.experiment_id = "0" * 32, "1"


@pytest.fixture
def described(monkeypatch) -> list[str]:
    """The texts that a run is described with."""
    texts: list[str] = []
    monkeypatch.setattr(RUN, "describe", texts.append, raising=False)
    return texts


def test_a_comparison_of_many_keeps_its_link_and_its_warnings_whatever_the_number_of_sentences(described):
    sentences = [f"sentence {number} " + "of two configurations " * 10 for number in range(45)]
    comparison = SimpleNamespace(
        configurations=[SimpleNamespace(name=f"configuration {letter}") for letter in "ABCDEFGHIJ"],
        verdicts={"raf": sentences[:30], "kdef": sentences[30:]},
        warnings=["it has seen *some* images"],
    )
    describe_compared(RUN, comparison, "comparison/report.html")
    (text,) = described
    assert len(text) < MAX_DESCRIPTION
    before, _, listed = text.partition("- sentence 0")
    assert f"/{RUN.id}/artifacts/comparison/report.html" in before
    assert r"> **Warning:** it has seen \*some\* images" in before
    assert "configuration J" in before
    assert f"\n- ... and {45 - SHOWN} more in the report" in listed


def test_a_comparison_with_little_to_say_says_it_whole(described):
    comparison = SimpleNamespace(configurations=[SimpleNamespace(name="A")], verdicts={}, warnings=[])
    describe_compared(RUN, comparison, "report.html")
    assert "There is nothing to test." in described[0]
    assert "more" not in described[0]


def test_of_many_stages_the_first_are_linked(described):
    stages = [Stage("finetune", f"{number:032}", "run", number) for number in range(100)]
    describe_stages(RUN, "all", stages, {})
    (text,) = described
    assert len(text) < MAX_DESCRIPTION
    assert stages[SHOWN - 1].run_id in text
    assert stages[SHOWN].run_id not in text
    assert f"... and {100 - SHOWN} more, listed in stages.json" in text


@pytest.mark.parametrize(
    ("init", "called"), [("models:/fer/3", "fer/3"), ("x/enc/", "enc"), ("swav-imagenet", "swav-imagenet")]
)
def test_a_pretraining_names_its_starting_weights(described, init, called):
    context = SimpleNamespace(run=RUN, config=PretrainConfig(dataset="raf", init=init), init=init)
    describe_pretrained(context, {})
    assert f"without labels, from {called} (" in described[0]
