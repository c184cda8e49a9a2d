"""The whole card as Markdown, in the order that Mitchell et al. (2019), Model Cards for Model Reporting, propose."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fer.attribution.credits import Credit
from fer.attribution.formats import PAGE, attribution_page, summary
from fer.attribution.plain_text import one_line
from fer.evaluation.report import Report
from fer.model_card.limits import PURPOSE, limits
from fer.model_card.tables import SetFigures, figures, table, title
from fer.models.backbones import ModelSpec

README, LICENCE = "README.md", "LICENSE.md"
"""Files of a card; hubs look for the first two names."""
FIGURES = "Figures"
"""Heading of the section that begins with the table of all sets."""
INPUT = {"detect": "a face, cut out upright by its eyes", "none": "a whole picture, stretched to a square"}
"""What the network sees, by `ModelSpec.framing`."""

_USAGE = """\
With MLflow alone, here or wherever `MLFLOW_TRACKING_URI` points to the same store (a downloaded folder does as well as
the address):

```python
import base64, pathlib
import mlflow, pandas

photo = base64.b64encode(pathlib.Path("photo.jpg").read_bytes()).decode()
model = mlflow.pyfunc.load_model("{address}")
print(model.predict(pandas.DataFrame({{"image": [photo]}})))
```

The table has a row for every face, or `error` in words. With the package `fer-experiments` installed:

```python
import fer

model = fer.load("{address}")  # an nn.Module that knows its preprocessing
for face in model.faces("photo.jpg"):
    print(face.box, face.expression, face.probabilities)
```

Served, it answers JSON:

```sh
mlflow models serve -m "{address}" --env-manager local --host 127.0.0.1 --port 5001
printf '{{"dataframe_split": {{"columns": ["image"], "data": [["%s"]]}}}}' "$(base64 -w0 photo.jpg)" |
    curl -s http://127.0.0.1:5001/invocations -H "Content-Type: application/json" --data-binary @-
```"""


@dataclass(frozen=True)
class Origin:
    """Where a model comes from.

    Attributes:
        name: The registered model; empty for one that is not registered.
        model_id: The logged model; the one address that names it and no other, whatever becomes the champion.
        spec: What it is.
        weights: How many weights it has.
        init: Starting weights.
        chosen: How its epoch was chosen, and its score by that.
        run_id: The MLflow run.
        code: The commit, and whether files differed from it.
        day: When it was made, as YYYY-MM-DD.
    """

    name: str
    model_id: str
    spec: ModelSpec
    weights: int
    init: str
    chosen: str
    run_id: str
    code: str
    day: str


def card_files(origin: Origin, tests: Mapping[str, SetFigures], credits: Sequence[Credit]) -> dict[str, str]:
    """Return the files of a model's card by name.

    Args:
        origin: Where the model comes from.
        tests: Its figures by the sets' names.
        credits: Of the Wikimedia pictures it was tested on.
    """
    files = {README: model_card(origin, tests, credits), LICENCE: licence(origin.spec)}
    return files | ({PAGE: attribution_page(credits)} if credits else {})


def model_card(origin: Origin, tests: Mapping[str, SetFigures], credits: Sequence[Credit]) -> str:
    """Return the card; arguments as of `card_files`."""
    name, spec = origin.name or origin.model_id, origin.spec
    sections = {
        "What it is and how it was made": _made(origin),
        FIGURES: figures(tests),
        "Intended use": PURPOSE,
        "Limits": _bullets(limits(spec, tests)),
        "How to use it": _USAGE.format(address=f"models:/{origin.model_id}"),
        "Credits": _credits(credits),
        "Terms it inherits": terms(spec),
    }
    yaml = head(name, spec, {dataset: tested.report for dataset, tested in tests.items()}, LICENCE)
    return "\n\n".join([yaml, f"# {name}", *(f"## {key}\n\n{text}" for key, text in sections.items())]) + "\n"


def headline(card: str) -> str:
    """Return the table of all sets from a card, or nothing where it has none."""
    return card.partition(f"\n## {FIGURES}\n\n")[2].partition("\n\n")[0]


def terms(spec: ModelSpec) -> str:
    """Return what starting weights and training sets ask for, a line each."""
    if not spec.terms:
        return "None: neither its starting weights nor its training sets are known to ask for anything."
    return _bullets(one_line(term).replace("<", "&lt;") for term in spec.terms)


def licence(spec: ModelSpec) -> str:
    """Return what hubs show as the licence."""
    return (
        "# Licence\n\nThe code in this folder is under the Apache License 2.0. What the weights inherit from what they "
        f"started from and were trained on:\n\n{terms(spec)}\n"
    )


def _size(spec: ModelSpec) -> str:
    cut, seen = f"{spec.crop_size} x {spec.crop_size}", f"{spec.image_size} x {spec.image_size}"
    return f"{cut} pixels" if cut == seen else f"cut out at {cut} pixels and enlarged to {seen}"


def _made(origin: Origin) -> str:
    spec = origin.spec
    softened = ", fitted on validation images" if spec.temperature != 1 else ", not fitted"
    facts = {
        "expressions": ", ".join(spec.expressions),
        "network": f"torchvision's {_code(spec.arch)}, {origin.weights:,} weights",
        "sees": f"{INPUT[spec.framing]}, {_size(spec)}",
        "starting weights": _code(origin.init),
        "trained on": ", ".join(map(title, spec.trained_on)) or "unknown",
        "training images": _counts(spec),
        "kept": f"{origin.chosen}; test images had no say",
        "temperature": f"{spec.temperature:.3f}{softened}",
        "made": f"{origin.day} by the MLflow run {_code(origin.run_id)}, logged as {_code(origin.model_id)}",
        "code": origin.code,
    }
    return table([["", ""], *([key, value] for key, value in facts.items())])


def _counts(spec: ModelSpec) -> str:
    if not spec.training_counts:
        return "unknown"
    each = zip(spec.expressions, spec.training_counts, strict=True)
    return f"{sum(spec.training_counts):,}: {', '.join(f'{count:,} {name}' for name, count in each)}"


def _credits(credits: Sequence[Credit]) -> str:
    said = "The face detector inside is CenterFace (Xu, Yan, Yang, Sun and Ye, 2019; MIT)."
    if not credits:
        return said
    return f"{said} It was tested on {summary(credits)}: [their authors and licences]({PAGE})."


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _code(text: str) -> str:
    return f"`{one_line(text).replace('`', '').replace('|', '/')}`"


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
