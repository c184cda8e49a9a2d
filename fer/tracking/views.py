"""Keep the prepared views of an experiment, which MLflow's page of runs offers in its menu *Views*.

MLflow (3.15 and later) stores a view as a tag of the experiment: a JSON object with the view's name and its state,
which is what the page itself would store, compressed.
"""

import base64
import hashlib
import json
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from fer.data.datasets.registry import in_order
from fer.tracking import store
from fer.tracking.names import ACCURACY_VIEW, CURVES_VIEW, PRETRAINING_VIEW, RUN_COLOUR
from fer.tracking.view_states import view_state

TITLES = {
    ACCURACY_VIEW: "Accuracy by expression",
    CURVES_VIEW: "Training curves",
    PRETRAINING_VIEW: "Pre-training",
}
TAG = "mlflow.sharedViewState."
"""Beginning of the tags in which MLflow keeps views; the view's key follows."""
COMPRESSED = "deflate;"
"""Beginning of a state that is compressed."""
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#999933",
    "#332288",
    "#44AA99",
    "#777777",
    "#117733",
)
"""Of runs in charts, which readers who see colours otherwise can tell apart: Okabe and Ito's (2008), then Tol's."""
LOCK = "views"
"""Purpose of the lock under which views are written."""


def refresh(
    address: str,
    experiment_id: str,
    views: Iterable[str],
    sets: Iterable[str] = (),
    matrices: bool = True,
) -> None:
    """Write prepared views of an experiment, or add test sets to them; one that a person changed stays as it is.

    Args:
        address: The store.
        experiment_id: The experiment.
        views: Keys of the views.
        sets: Test sets whose figures they have to show, beside those they show already.
        matrices: Whether there are pictures of these sets' confusion matrices.

    Raises:
        MlflowException: The store refuses them, or does not answer.
    """
    client = mlflow.MlflowClient()
    # Of two runs that end together neither may lose the other's sets.
    with store.locked(address, LOCK):
        tags = client.get_experiment(experiment_id).tags
        for view in views:
            stored = tags.get(TAG + view, "")
            value = updated(view, stored, sets, matrices)
            if value != stored:
                client.set_experiment_tag(experiment_id, TAG + view, value)


def next_colour(experiment_id: str) -> str:
    """Return the colour of a new run in charts: not that of the runs before it.

    MLflow takes colours from runs' ids, by which two runs beside each other may get the same.
    """
    latest: list[Run] = []
    # A server may give rights to new runs alone.
    with suppress(MlflowException):
        latest = store.search_runs(f"tags.`{RUN_COLOUR}` LIKE '#%'", [experiment_id], limit=1)
    return colour_after(latest[0].data.tags[RUN_COLOUR] if latest else "")


def colour_after(colour: str) -> str:
    """Return the colour that follows another one; the first where that is none of `COLOURS`."""
    index = COLOURS.index(colour) + 1 if colour in COLOURS else 0
    return COLOURS[index % len(COLOURS)]


def updated(view: str, stored: str, sets: Iterable[str], matrices: bool = True) -> str:
    """Return the value of a view's tag with test sets added; what is stored where nothing is to be changed.

    Args:
        view: Key of the view.
        stored: The tag's value; empty where there is none.
        sets: Test sets to show.
        matrices: Whether their confusion matrices can be shown too.
    """
    own = _own(stored)
    # Somebody saved a view of their own under this key.
    if stored and not own:
        return stored
    added = list(sets)
    shown = in_order([*own.get("sets", ()), *added])
    pictured = in_order([*own.get("pictured", ()), *(added if matrices else ())])
    if view == ACCURACY_VIEW and not shown:
        return stored
    state = _compressed(view_state(view, shown, pictured))
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
        "pictured": pictured,
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
