"""Lay out the prepared views: which runs, columns and charts MLflow's page of runs shows.

MLflow documents none of it; the names are those of its interface (`ExperimentPageUIState`,
`ExperimentPageSearchFacetsState` and `RunsChartsCardConfig` in its sources).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fer.evaluation.names import (
    ACCURACY,
    CLASS_MEAN,
    FEATURE_STD,
    KNN_ACCURACY,
    LEARNING_RATE,
    LINEAR_ACCURACY,
    RANK_ME,
    TRAINING_LOSS,
    VALIDATION,
    VALIDATION_ACCURACY,
    VALIDATION_LOSS,
    metric_key,
)
from fer.expressions import EXPRESSIONS
from fer.tracking.names import ACCURACY_VIEW, COMMAND, CONFUSION_IMAGES, CURVES_VIEW, TESTED

MEASURES = (ACCURACY, CLASS_MEAN, *EXPRESSIONS)
"""What is shown of each test set."""
CURVES = (TRAINING_LOSS, VALIDATION_LOSS, VALIDATION_ACCURACY, f"{VALIDATION}/{CLASS_MEAN}", LEARNING_RATE)
PROBES = (LINEAR_ACCURACY, KNN_ACCURACY, RANK_ME, FEATURE_STD, TRAINING_LOSS)
RUN_NAME = "attributes.`Run Name`"
"""MLflow's key of the column of names."""
OTHERS = (VALIDATION, "Model metrics", "System metrics")
"""Sections that MLflow makes for metrics without a chart of ours; they are closed until somebody opens them."""
NAME_WIDTH, PARAMETER_WIDTH, ARROW_WIDTH = 270, 110, 24
"""In pixels."""


def view_state(view: str, sets: Sequence[str], pictured: Sequence[str]) -> dict[str, Any]:
    """Return what MLflow's page stores of a view.

    Args:
        view: Key of the view.
        sets: Test sets whose figures it shows, in this order.
        pictured: Those of them with pictures of confusion matrices.
    """
    if view == ACCURACY_VIEW:
        return _accuracy_by_expression(sets, pictured)
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


def _accuracy_by_expression(sets: Sequence[str], pictured: Sequence[str]) -> dict[str, Any]:
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
    # One run's matrix stands beside the other's, which takes the page's whole width.
    sections.append(_section(CONFUSION_IMAGES, columns=1, height=420))
    for name in pictured:
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
    widths = {RUN_NAME: NAME_WIDTH} | {column: _width(column) for column in columns}
    # Its head holds an arrow too.
    widths[_metric(order_by)] += ARROW_WIDTH
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
        "columnWidths": widths,
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
    return PARAMETER_WIDTH if kind == "params" else 30 + round(6.5 * len(name.strip("`")))
