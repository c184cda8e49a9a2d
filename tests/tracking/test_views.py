import base64
import json
import threading
import zlib

import mlflow
import pytest
from mlflow.utils.validation import MAX_EXPERIMENT_TAG_VAL_LENGTH

from fer.config.models import ExportConfig
from fer.data.datasets.registry import DATASETS
from fer.evaluation.names import ACCURACY, CLASS_MEAN, metric_key
from fer.expressions import EXPRESSIONS
from fer.tracking import store, views
from fer.tracking.lifecycle import tracked
from fer.tracking.names import ACCURACY_VIEW, CURVES_VIEW, PRETRAINING_VIEW
from fer.tracking.view_states import CURVES, PROBES
from tests.tracking.servers import refusing, tracking_server

TAG = views.TAG + ACCURACY_VIEW
MEASURES = (ACCURACY, CLASS_MEAN, *EXPRESSIONS)


def state(value):
    """Return what MLflow's page reads of a view."""
    kind, content = json.loads(value)["state"].split(";")
    assert kind == "deflate"
    return json.loads(zlib.decompress(base64.b64decode(content)))


def tags(client):
    return dict(client.get_experiment("0").tags)


def pictures(client):
    charts = state(tags(client)[TAG])["compareRunCharts"]
    return [chart["imageKeys"] for chart in charts if chart["type"] == "IMAGE"]


def refresh(*sets, keys=(ACCURACY_VIEW,)):
    views.refresh(store.connect(), "0", keys, sets)


def test_a_view_shows_each_set_with_its_seven_expressions_and_nothing_of_other_sets(client):
    refresh("wikimedia", "raf")
    shown = state(tags(client)[TAG])
    figures = [metric_key(name, measure) for name in ("raf", "wikimedia") for measure in MEASURES]
    parameters = ["params.`init`", "params.`arch`", "params.`dataset`"]
    assert shown["selectedColumns"] == parameters + [f"metrics.`{key}`" for key in figures]
    assert shown["columnOrder"][1:] == shown["selectedColumns"]
    assert shown["columnWidths"].keys() == set(shown["columnOrder"])
    assert (shown["orderByKey"], shown["orderByAsc"]) == ("metrics.`raf/accuracy`", False)
    assert [chart["metricKey"] for chart in shown["compareRunCharts"] if chart["type"] == "BAR"] == figures
    assert pictures(client) == [["confusion/raf"], ["confusion/wikimedia"]]
    sections = {section["uuid"] for section in shown["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in shown["compareRunCharts"]} <= sections


def test_sets_without_pictures_get_no_empty_chart_of_them(client):
    views.refresh(store.connect(), "0", (ACCURACY_VIEW,), ["raf"], matrices=False)
    refresh("wikimedia")
    charts = state(tags(client)[TAG])["compareRunCharts"]
    assert [chart["imageKeys"] for chart in charts if chart["type"] == "IMAGE"] == [["confusion/wikimedia"]]
    refresh("raf")
    charts = state(tags(client)[TAG])["compareRunCharts"]
    assert [chart["imageKeys"] for chart in charts if chart["type"] == "IMAGE"] == [
        ["confusion/raf"],
        ["confusion/wikimedia"],
    ]


def test_sets_are_added_and_never_lost(client):
    refresh("kdef")
    before = tags(client)[TAG]
    refresh("kdef")
    assert tags(client)[TAG] == before, "nothing new, so nothing is written"
    refresh("raf")
    assert json.loads(tags(client)[TAG])["sets"] == ["raf", "kdef"]
    assert json.loads(tags(client)[TAG])["createdAt"] == json.loads(before)["createdAt"]


def test_two_runs_that_end_together_both_add_their_sets(client):
    threads = [threading.Thread(target=refresh, args=(name,)) for name in DATASETS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(tags(client)[TAG])["sets"] == list(DATASETS)


def test_all_sets_with_all_charts_fit_a_tag():
    value = views.updated(ACCURACY_VIEW, "", [*DATASETS, *(f"own-set-{number}" for number in range(20))])
    # Room for some sets of people's own, too.
    assert len(value) < MAX_EXPERIMENT_TAG_VAL_LENGTH


def test_the_others_show_epochs(client):
    refresh("raf", keys=(CURVES_VIEW, PRETRAINING_VIEW))
    for key, expected in ((CURVES_VIEW, CURVES), (PRETRAINING_VIEW, PROBES)):
        shown = state(tags(client)[views.TAG + key])
        charts = shown["compareRunCharts"]
        assert {(chart["type"], chart["xAxisKey"]) for chart in charts} == {("LINE", "step")}
        assert [chart["metricKey"] for chart in charts] == list(expected)


def test_an_experiment_without_tests_gets_no_view_of_them(client):
    refresh()
    assert TAG not in tags(client)


def renamed(value):
    return json.dumps(json.loads(value) | {"name": "Ours"})


def rearranged(value):
    other = json.loads(views.updated(ACCURACY_VIEW, "", ["ferplus"]))["state"]
    return json.dumps(json.loads(value) | {"state": other})


def saved_by_the_page(value):
    return json.dumps({key: json.loads(value)[key] for key in ("name", "createdAt", "state")})


@pytest.mark.parametrize("change", [renamed, rearranged, saved_by_the_page, lambda value: "of another program"])
def test_what_a_person_changed_stays_as_it_is(client, change):
    refresh("raf")
    theirs = change(tags(client)[TAG])
    client.set_experiment_tag("0", TAG, theirs)
    client.set_experiment_tag("0", views.TAG + "of-anna", "{}")
    refresh("kdef")
    assert tags(client)[TAG] == theirs
    assert tags(client)[views.TAG + "of-anna"] == "{}"


def test_a_view_that_was_removed_is_written_again(client):
    refresh("raf")
    client.delete_experiment_tag("0", TAG)
    refresh("kdef")
    assert json.loads(tags(client)[TAG])["sets"] == ["kdef"]


def test_a_store_that_refuses_views_costs_one_line_and_no_run(client, tmp_path, monkeypatch, capsys):
    with tracking_server(tmp_path) as address, refusing(address, "set-experiment-tag") as (proxy, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy)
        mlflow.set_tracking_uri(proxy)
        with tracked("evaluate", ExportConfig(), "any") as run:
            run.views((ACCURACY_VIEW,), ["raf"])
    # On a server MLflow itself would print two links to its GenAI pages.
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: the views of MLflow's page of runs were not written: ")
    assert TAG not in tags(client)
    assert client.get_run(run.id).info.status == "FINISHED"


def test_neighbouring_runs_have_other_colours_and_a_persons_colour_stays(client):
    colours = []
    for number in range(len(views.COLOURS) + 1):
        with tracked("export", ExportConfig(), f"run {number}") as run:
            pass
        colours.append(client.get_run(run.id).data.tags["mlflow.runColor"])
    assert colours == [*views.COLOURS, views.COLOURS[0]]
    client.set_tag(run.id, "mlflow.runColor", "#123456")
    assert views.next_colour("0") == views.COLOURS[0]
    assert client.get_run(run.id).data.tags["mlflow.runColor"] == "#123456"
