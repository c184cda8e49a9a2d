"""Write a model's card in the order that Mitchell et al. (2019), Model Cards for Model Reporting, propose."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fer.attribution.credits import Credit
from fer.attribution.formats import PAGE, attribution_page, summary
from fer.attribution.plain_text import one_line
from fer.model_card.limits import limits
from fer.model_card.tables import SetFigures, dataset_title, figures
from fer.models.backbones import ModelSpec
from fer.utils.html import render

README, LICENCE = "README.md", "LICENSE.md"
"""Files of a card; hubs look for these names."""
FIGURES = "Figures"
"""Heading of the section that begins with the table of all data sets."""
INPUT = {"detect": "a face, cut out upright by its eyes", "none": "a whole picture, stretched to a square"}
"""What the network sees, by `ModelSpec.framing`."""


@dataclass(frozen=True)
class Origin:
    """How a model was made.

    Attributes:
        name: The registered model; empty for one that is not registered.
        model_id: The logged model; the one address that names it and no other, whatever becomes the champion.
        spec: Its specification.
        weights: How many weights it has.
        init: Initial weights.
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
        origin: How the model was made.
        tests: Its figures by data set.
        credits: Of the Wikimedia pictures it was tested on.
    """
    licence = (
        "# Licence\n\nThe code in this folder is under the Apache License 2.0. What the weights inherit from what they "
        f"started from and were trained on:\n\n{terms(origin.spec)}\n"
    )
    files = {README: model_card(origin, tests, credits), LICENCE: licence}
    if credits:
        files[PAGE] = attribution_page(credits)
    return files


def model_card(origin: Origin, tests: Mapping[str, SetFigures], credits: Sequence[Credit]) -> str:
    """Write the card as Markdown; arguments as of `card_files`.

    Its head of YAML has the keys of https://huggingface.co/docs/hub/model-cards; terms that are no licence known there
    are `other` with a file, and figures lie in [0, 1].
    """
    spec = origin.spec
    return render(
        "model_card.md",
        name=origin.name or origin.model_id,
        origin=origin,
        spec=spec,
        tests=tests,
        licence_file=LICENCE,
        attribution_file=PAGE,
        input=INPUT[spec.framing],
        trained_on=[dataset_title(name) for name in spec.trained_on],
        figures_heading=FIGURES,
        figures=figures(tests),
        limits=limits(spec, tests),
        # The name of a registered model may stand for another version tomorrow.
        address=f"models:/{origin.model_id}",
        credits=summary(credits) if credits else "",
        terms=terms(spec),
        code=_code,
        # JSON's strings are YAML's; a bare `no`, `1e-3` or `12:30` would mean something else there.
        quoted=lambda text: json.dumps(text, ensure_ascii=False),
    )


def headline(card: str) -> str:
    """Return the table of all data sets from a card, or nothing where it has none."""
    return card.partition(f"\n## {FIGURES}\n\n")[2].partition("\n\n")[0]


def terms(spec: ModelSpec) -> str:
    """Return what initial weights and training sets ask for, a line each."""
    if not spec.terms:
        return "None: neither its starting weights nor its training sets are known to ask for anything."
    # Addresses in terms stay links; tags do not stay tags.
    return "\n".join("- " + one_line(term).replace("<", "&lt;") for term in spec.terms)


def _code(text: str) -> str:
    """Return a text as code in a Markdown table, which neither a quote nor a bar within it may end."""
    return f"`{one_line(text).replace('`', '').replace('|', '/')}`"
