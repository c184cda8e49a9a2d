"""Keep the prepared views of an experiment: which runs, columns and charts MLflow's page of runs shows by name.

MLflow (3.15 and later) stores a view as a tag of the experiment: a JSON object whose `state` is what the page itself
would store, compressed. Its parts are not documented; their names are those of MLflow's interface
(`ExperimentPageUIState` and `ExperimentPageSearchFacetsState` in its sources).
"""

import base64
import hashlib
import json
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from fer.data.datasets.registry import DATASETS
from fer.errors import shortened
from fer.evaluation.names import (
    ACCURACY,
    CLASS_MEAN,
    FEATURE_STD,
    KNN_ACCURACY,
    LEARNING_RATE,
    LINEAR_ACCURACY,
    TRAINING_LOSS,
    VALIDATION,
    VALIDATION_ACCURACY,
    VALIDATION_LOSS,
    metric_key,
)
from fer.expressions import EXPRESSIONS
from fer.tracking import store
from fer.tracking.names import ACCURACY_VIEW, COMMAND, CONFUSION_IMAGES, CURVES_VIEW, PRETRAINING_VIEW, TESTED

TITLES = {
    ACCURACY_VIEW: "Accuracy by expression",
    CURVES_VIEW: "Training curves",
    PRETRAINING_VIEW: "Pre-training",
}
TAG = "mlflow.sharedViewState."
"""Beginning of the tags in which MLflow keeps views; the view's key follows."""
COMPRESSED = "deflate;"
"""Beginning of a state that is compressed."""
LOCK = "views"
"""Purpose of the lock under which views are written."""
MEASURES = (ACCURACY, CLASS_MEAN, *EXPRESSIONS)
"""What is shown of each test set."""
CURVES = (TRAINING_LOSS, VALIDATION_LOSS, VALIDATION_ACCURACY, f"{VALIDATION}/{CLASS_MEAN}", LEARNING_RATE)
PROBES = (LINEAR_ACCURACY, KNN_ACCURACY, FEATURE_STD, TRAINING_LOSS)
RUN_NAME = "attributes.`Run Name`"
"""MLflow's key of the column of names."""
OTHERS = (VALIDATION, "Model metrics", "System metrics")
"""Sections that MLflow makes for metrics without a chart of ours; they are closed until somebody opens them."""
NAME_WIDTH, PARAMETER_WIDTH = 300, 140
"""In pixels."""


def refresh(address: str, experiment_id: str, views: Iterable[str], sets: Iterable[str] = ()) -> None:
    """Write prepared views of an experiment, or add test sets to them; one that a person changed stays as it is.

    A store that refuses them costs a line of warning, never the run.

    Args:
        address: The store.
        experiment_id: The experiment.
        views: Keys of the views.
        sets: Test sets whose figures they have to show, beside those they show already.
    """
    client = mlflow.MlflowClient()
    try:
        # Of two runs that end together neither may lose the other's sets.
        with store.locked(address, LOCK):
            tags = client.get_experiment(experiment_id).tags
            for view in views:
                stored = tags.get(TAG + view, "")
                value = updated(view, stored, sets)
                if value != stored:
                    client.set_experiment_tag(experiment_id, TAG + view, value)
    except (MlflowException, OSError) as error:
        print(f"warning: the views of MLflow's page of runs were not written: {shortened(str(error), 200)}")


def tested_sets(metrics: Iterable[str]) -> list[str]:
    """Return the test sets whose figures are among metrics, in the registry's order."""
    present = set(metrics)
    return [name for name in DATASETS if metric_key(name, ACCURACY) in present]


def updated(view: str, stored: str, sets: Iterable[str]) -> str:
    """Return the value of a view's tag with test sets added; what is stored where nothing is to be changed.

    Args:
        view: Key of the view.
        stored: The tag's value; empty where there is none.
        sets: Test sets to show.
    """
    own = _own(stored)
    # Somebody saved a view of their own under this key.
    if stored and not own:
        return stored
    known = {*own.get("sets", ()), *sets}
    shown = [name for name in DATASETS if name in known]
    if view == ACCURACY_VIEW and not shown:
        return stored
    state = _compressed(_state(view, shown))
    if own and own["state"] == state:
        return stored
    now = int(time.time() * 1000)
    envelope = {
        "name": TITLES[view],
        "createdAt": own.get("createdAt", now),
        "updatedAt": now,
        "state": state,
        # MLflow reads the four above only.
        "sets": shown,
        "digest": _digest(TITLES[view], state),
    }
    return json.dumps(envelope, separators=(",", ":"))


def _own(stored: str) -> dict[str, Any]:
    """Return a stored view; nothing where it is not as this module wrote it."""
    try:
        envelope = json.loads(stored)
        unchanged = envelope["digest"] == _digest(envelope["name"], envelope["state"])
    except (ValueError, TypeError, KeyError):
        return {}
    return envelope if unchanged else {}


def _digest(name: str, state: str) -> str:
    return hashlib.sha256(f"{name}\n{state}".encode()).hexdigest()[:16]


def _compressed(state: Mapping[str, Any]) -> str:
    text = json.dumps(state, separators=(",", ":"))
    return COMPRESSED + base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _state(view: str, sets: Sequence[str]) -> dict[str, Any]:
    """Return what MLflow's page stores of a view."""
    if view == ACCURACY_VIEW:
        return _accuracy_by_expression(sets)
    if view == CURVES_VIEW:
        return _curves("finetune", VALIDATION_ACCURACY, _parameters("init", "arch", "dataset"), CURVES, sets)
    return _curves("pretrain", LINEAR_ACCURACY, _parameters("method", "arch", "dataset"), PROBES, sets)


def _curves(
    command: str,
    order_by: str,
    parameters: Sequence[str],
    metrics: Sequence[str],
    sets: Sequence[str],
) -> dict[str, Any]:
    """Return the state that shows metrics of a command's runs over epochs, and their last values."""
    section = "curves"
    charts = []
    for key in metrics:
        axes = {"xAxisKey": "step", "scaleType": "linear", "lineSmoothness": 0}
        own = {"uuid": key, "type": "LINE", "metricSectionId": section}
        charts.append({**own, "metricKey": key, "selectedMetricKeys": [key], **axes})
    # What was tested in the end is another view's matter.
    sections = [_section(section, columns=2, height=340), *(_section(name, display=False) for name in sets)]
    return _page(f"tags.`{COMMAND}` = '{command}'", order_by, [*parameters, *map(_metric, metrics)], charts, sections)


def _accuracy_by_expression(sets: Sequence[str]) -> dict[str, Any]:
    columns = _parameters("init", "arch", "dataset")
    charts: list[dict[str, Any]] = []
    sections: list[dict[str, Any]] = []
    for name in sets:
        # Under the set's own name, where MLflow puts what else is measured on it.
        sections.append(_section(name, columns=3, height=260))
        for measure in MEASURES:
            key = metric_key(name, measure)
            columns.append(_metric(key))
            charts.append({"uuid": key, "type": "BAR", "metricSectionId": name, "metricKey": key})
    # One matrix of each run beside the other, so they need the page's whole width.
    sections.append(_section(CONFUSION_IMAGES, columns=1, height=420))
    for name in sets:
        image = f"{CONFUSION_IMAGES}/{name}"
        own = {"imageKeys": [image], "step": 0, "showRunParams": False}
        charts.append({"uuid": image, "type": "IMAGE", "metricSectionId": CONFUSION_IMAGES, **own})
    return _page(f"tags.`{TESTED}` = 'true'", metric_key(sets[0], ACCURACY), columns, charts, sections)


def _page(
    filter_string: str,
    order_by: str,
    columns: Sequence[str],
    charts: Sequence[Mapping[str, Any]],
    sections: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the state of the page of runs.

    Args:
        filter_string: Which runs it shows, in MLflow's language.
        order_by: The metric they are ordered by, the highest first; so the table is flat as well.
        columns: Keys of the columns, in their order.
        charts: The charts.
        sections: The sections these stand in; MLflow adds others for the rest of the metrics.
    """
    return {
        "searchFilter": filter_string,
        "orderByKey": _metric(order_by),
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": [RUN_NAME, *columns],
        "columnWidths": {RUN_NAME: NAME_WIDTH} | {column: _width(column) for column in columns},
        "compareRunCharts": charts,
        "compareRunSections": [*sections, *(_section(name, display=False) for name in OTHERS)],
        # Ours come first; by default all would be sorted by name.
        "isAccordionReordered": True,
        "runsHiddenMode": "FIRST_20_RUNS",
        "hideEmptyCharts": True,
    }


def _section(name: str, columns: int = 3, height: int = 360, display: bool = True) -> dict[str, Any]:
    """Return a section of charts, `columns` in a row, `height` pixels high, open where `display` is set."""
    return {
        "uuid": name,
        "name": name,
        "display": display,
        "isReordered": True,
        "columns": columns,
        "cardHeight": height,
    }


def _metric(key: str) -> str:
    return f"metrics.`{key}`"


def _parameters(*names: str) -> list[str]:
    return [f"params.`{name}`" for name in names]


def _width(column: str) -> int:
    """Return the width of a column in pixels: a metric's head can be read, a parameter's values."""
    kind, name = column.split(".", 1)
    return PARAMETER_WIDTH if kind == "params" else 50 + 7 * len(name.strip("`"))
