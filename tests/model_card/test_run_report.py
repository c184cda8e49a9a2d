"""The page of a run, rendered from plain values."""

import base64
from dataclasses import replace

import pytest

from fer.attribution.credits import API, Credit
from fer.evaluation.names import UNIFORM_PRIOR
from fer.evaluation.report import report
from fer.expressions import EXPRESSIONS
from fer.model_card.run_report import Plot, RunReport, ShownMistake, ShownSet, run_page
from tests.pages import HOSTILE, Page
from tests.predictions import draw

EVIL = "<script>alert('x')</script> & \"q\" ' | `b`"
CREDIT = Credit(
    "6/Face.jpg", "", "File:Face.jpg", "https://commons.wikimedia.org/wiki/File:Face.jpg", "A. Painter", "CC BY 4.0",
    "https://creativecommons.org/licenses/by/4.0/", looked_up="2026-11-24", source=API,
)  # fmt: skip
MISTAKE = ShownMistake("test/raf/6/a.jpg", "anger", "fear", 0.987, b"picture")
SEEN = "2 of 84 images seen in training (2 copy): accuracy 50.0 %, 49.0 % without them"


def section(**changed):
    names = ("raf", f"raf/{UNIFORM_PRIOR}", "raf/frontal")
    reports = {name: report(*draw(seed, absent=(2,))) for seed, name in enumerate(names)}
    plots = (Plot("Confusion matrix: RAF", b"matrix"),)
    tested = ShownSet("RAF, test set", reports, "none of 84 images was seen in training", plots=plots)
    return replace(tested, mistakes=(MISTAKE,), **changed)


def whole(**changed):
    values = {
        "name": "a run",
        "lead": "Fine-tuning",
        "facts": {"network": "resnet18"},
        "options": [("lr", "0.1", "0.2", "peak learning rate")],
        "sets": [section()],
        "training": [Plot("Learning curves", b"curves")],
        "epochs": [["epoch", "loss"], ["0", "-"], ["1", "0.5"]],
        "usage": {"Use it": "fer predict"},
        "terms": ["RAF-DB: research only"],
    }
    return RunReport(**values | changed)


def data(kind, content):
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def sources(shown):
    return [link for link in shown.links if link.startswith("data:")]


def test_the_page_shows_every_part_and_loads_nothing_from_elsewhere():
    content = run_page(whole())
    shown = Page(content)
    assert "default-src 'none'" in content
    assert not {"script", "link", "iframe", "object"} & set(shown.tags)
    assert shown.links == [data("png", b"matrix"), data("jpeg", b"picture"), data("png", b"curves")]
    for text in ("a run", "resnet18", "peak learning rate", "anger, taken for", "98.7 %", "RAF-DB: research only"):
        assert text in shown.text
    assert "prefers-color-scheme: dark" in content
    assert "@media print" in content


def test_parts_without_content_are_left_out():
    bare = Page(run_page(RunReport("a run", "Pre-training", {})))
    assert not {"details", "table", "img", "pre"} & set(bare.tags)
    assert "Terms" not in bare.text


@pytest.mark.parametrize("evil", [EVIL, *HOSTILE.values()])
def test_hostile_texts_stay_texts(evil):
    evil = evil.encode("utf-8", "replace").decode()
    tested = section(contamination=evil, seen=True, credits=evil)
    tested = replace(tested, title=evil, mistakes=(replace(MISTAKE, path=evil, credit=replace(CREDIT, author=evil)),))
    hidden = replace(tested, hidden=evil)
    content = run_page(
        whole(
            name=evil, lead=evil, facts={evil: evil}, options=[(evil,) * 4], sets=[tested, hidden], usage={evil: evil},
            terms=[evil], training=[Plot(evil, b"x")],
        )
    )  # fmt: skip
    shown, plain = Page(content), Page(run_page(whole(sets=[section(seen=True), section(hidden="x")])))
    assert set(shown.tags) <= set(plain.tags) | {"a"}
    assert set(shown.attributes) <= set(plain.attributes) | {"href", "rel", "target"}
    assert all(link.startswith(("data:image/", CREDIT.page, CREDIT.licence_url)) for link in shown.links)


def test_figures_stand_with_interval_and_support_and_absent_ones_as_a_dash():
    tested = section()
    shown = Page(run_page(whole(sets=[tested])))
    figures = tested.reports["raf"]
    low, high = figures.accuracy_interval
    for text in (f"{100 * figures.accuracy:.1f}", f"[{100 * low:.1f}, {100 * high:.1f}]", "uniform prior", "frontal"):
        assert text in shown.texts
    for name in EXPRESSIONS:
        recall = figures.recall[name]
        assert ("-" if recall is None else f"{100 * recall:.1f}") in shown.texts
        assert f"{figures.support[name]}" in shown.texts


@pytest.mark.parametrize("seen", [True, False])
def test_the_warning_is_there_exactly_when_test_images_were_seen(seen):
    tested = section(contamination=SEEN, seen=seen, unseen={"images": 82, "accuracy": 0.49, "class_mean": 0.41})
    shown = Page(run_page(whole(sets=[section(), tested])))
    assert shown.text.count("Warning:") == seen
    content = run_page(whole(sets=[section()]))
    assert "Warning" not in content
    assert 'class="warning"' not in content


def test_accuracies_without_seen_images_stand_below_those_of_all():
    tested = section(contamination=SEEN, seen=True, unseen={"images": 82, "accuracy": 0.4912, "class_mean": 0.4154})
    texts = Page(run_page(whole(sets=[tested]))).texts
    first = texts.index("without seen images")
    following = [text for text in texts[first:] if text.strip()]
    assert following[1:4] == ["82", "49.1", "41.5"]
    assert texts.index("raf") < first < texts.index("uniform prior")


def test_pictures_that_may_not_be_shown_are_listed_and_no_picture_of_them_is_in_the_page():
    shown = Page(run_page(whole(sets=[section(hidden="those of RAF may not be")])))
    assert "Their pictures are not shown: those of RAF may not be." in shown.text
    assert {"test/raf/6/a.jpg", "anger", "fear", "98.7"} <= set(shown.texts)
    assert sources(shown) == [data("png", b"matrix"), data("png", b"curves")]


def test_a_credit_stands_under_its_picture_with_title_author_source_licence_and_changes():
    tested = replace(section(), mistakes=(replace(MISTAKE, credit=CREDIT),))
    content = run_page(whole(sets=[tested]))
    shown = Page(content)
    (figure,) = [part for part in content.split("<figure>") if "Painter" in part]
    assert data("jpeg", b"picture") in figure
    for text in ("Face.jpg", "A. Painter", "Wikimedia Commons", "CC BY 4.0", "cropped and resized"):
        assert text in figure
    assert [CREDIT.page, CREDIT.licence_url] == [link for link in shown.links if link.startswith("https")]
