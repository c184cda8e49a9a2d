"""The head of a model card: the YAML that model hubs read, with every figure for machines."""

import json
from collections.abc import Mapping
from typing import Any

from fer.models.backbones import ModelSpec
from fer.report import Report

OWN_LICENCE = "apache-2.0"
"""The project's, for models that inherit no terms."""
TAGS = ("facial-expression-recognition", "emotion-recognition", "faces", "mlflow", "torchvision")
TASK = "image-classification"


def head(name: str, spec: ModelSpec, reports: Mapping[str, Report], licence_file: str) -> str:
    """Return the block of YAML between two lines of dashes.

    The keys are those of https://huggingface.co/docs/hub/model-cards; terms that are no licence known there are
    `other` with a file. Shares are in [0, 1].

    Args:
        name: The model's.
        spec: What it is.
        reports: Its figures by the sets' names.
        licence_file: Where its terms stand.
    """
    values: dict[str, Any] = {"license": OWN_LICENCE}
    if spec.terms:
        values = {"license": "other", "license_name": "inherited-terms", "license_link": licence_file}
    values |= {"library_name": "mlflow", "pipeline_tag": TASK, "tags": [*TAGS, spec.arch]}
    if spec.trained_on:
        values["datasets"] = list(spec.trained_on)
    values["metrics"] = ["accuracy", "f1"]
    if reports:
        results = [_result(dataset, found) for dataset, found in reports.items()]
        values["model-index"] = [{"name": name, "results": results}]
    return "\n".join(["---", *_lines(values), "---"])


def _result(dataset: str, found: Report) -> dict[str, Any]:
    """Return one set's figures as hubs list them."""
    named = [
        ("accuracy", "Accuracy", found.accuracy),
        ("mean_class_accuracy", "Mean of the class accuracies", found.mean_class_accuracy),
        ("f1", "Macro F1", found.macro_f1),
        ("expected_calibration_error", "Expected calibration error", found.ece),
    ]
    return {
        "task": {"type": TASK, "name": "Facial-expression recognition"},
        "dataset": {"type": dataset, "name": dataset},
        "metrics": [{"type": kind, "name": name, "value": round(value, 4)} for kind, name, value in named],
    }


def _lines(value: Any) -> list[str]:
    """Return nested dicts and lists as lines of block YAML; JSON's scalars are YAML's too."""
    lines = []
    if isinstance(value, dict):
        for key, inner in value.items():
            nested = isinstance(inner, dict | list)
            lines += [f"{key}:", *(f"  {line}" for line in _lines(inner))] if nested else [f"{key}: {_scalar(inner)}"]
    else:
        for item in value:
            first, *others = _lines(item) if isinstance(item, dict) else [_scalar(item)]
            lines += [f"- {first}", *(f"  {line}" for line in others)]
    return lines


def _scalar(value: Any) -> str:
    # Quoted: a bare `no`, `1e-3` or `12:30` would mean something else in YAML.
    return json.dumps(value, ensure_ascii=False)
