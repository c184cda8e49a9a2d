import pytest

from fer.data.datasets.class_names import SYNONYMS, expression_of, map_classes, parse_class_map
from fer.errors import ConfigError, DataError
from fer.expressions import EXPRESSIONS


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        *((name, name) for name in EXPRESSIONS),
        *SYNONYMS.items(),
        ("Happy", "happiness"),
        (" SAD ", "sadness"),
        ("3_angry", "anger"),
        ("03 - fearful", "fear"),
        ("1.Surprise", "surprise"),
        ("contempt", None),
        ("4", None),
        ("", None),
        ("unhappy", None),
        ("not angry", None),
    ],
)
def test_words_for_expressions_are_known(name: str, expression: str | None) -> None:
    assert expression_of(name) == expression


def test_a_map_is_read_with_any_word_for_an_expression() -> None:
    assert parse_class_map("rage:anger, 7:Calm ,contempt:none,10:30:happy") == {
        "rage": "anger",
        "7": "neutral",
        "contempt": None,
        "10:30": "happiness",
    }
    assert parse_class_map("") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rage", "'rage' is not of the form class:expression"),
        (":anger", "':anger' is not of the form class:expression"),
        ("rage:angr", "unknown expression 'angr': did you mean 'anger'?"),
        ("rage:", "unknown expression ''"),
        ("a:fear,a:fear", "names the class 'a' twice"),
    ],
)
def test_what_is_no_map_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_class_map(text)
    assert message in str(caught.value)


def test_the_map_wins_over_names_and_what_neither_knows_is_left_out() -> None:
    mapped = map_classes(["happy", "calm", "bored"], {"happy": None, "bored": "neutral"})
    assert mapped == {"happy": None, "calm": "neutral", "bored": "neutral"}
    assert map_classes(["happy", "contempt"], {})["contempt"] is None


def test_a_map_that_hits_nothing_tells_the_classes_there_are() -> None:
    with pytest.raises(ConfigError, match="map: unknown class 'hapy': did you mean 'happy'"):
        map_classes(["happy", "sad"], {"hapy": "anger"})


def test_numbers_alone_are_refused_without_a_map_that_would_label_them_by_our_order() -> None:
    with pytest.raises(DataError) as caught:
        map_classes(["0", "1", "2"], {})
    assert f"map=0:<expression>,... with {', '.join(EXPRESSIONS)} or none" in str(caught.value)


def test_many_long_names_are_told_in_part() -> None:
    names = [f"{number}{'x' * 200}" for number in range(100)]
    with pytest.raises(DataError) as unmapped:
        map_classes(names, {})
    with pytest.raises(ConfigError) as unknown:
        map_classes(names, {"other": "anger"})
    assert max(len(str(refusal.value)) for refusal in (unmapped, unknown)) < 600
