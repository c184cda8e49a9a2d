"""Tell which points of metrics a run has already, in the store or in its spool."""

import mlflow
from mlflow.entities import Run

from fer.tracking.endings import SYSTEM_METRICS
from fer.tracking.spool import Spool


def recorded_points(client: mlflow.MlflowClient, run: Run) -> dict[tuple[str, int], float]:
    """Return the values of a run's metrics in the store, by key and step; of the machine's metrics one key's only."""
    keys = [key for key in run.data.metrics if not key.startswith(SYSTEM_METRICS)]
    # Their steps are counted together, and a long run has many.
    keys += [key for key in sorted(run.data.metrics) if key.startswith(SYSTEM_METRICS)][:1]
    points: dict[tuple[str, int], float] = {}
    for key in keys:
        for point in client.get_metric_history(run.info.run_id, key):
            points[key, point.step] = point.value
    return points


def spooled_points(spool: Spool) -> dict[tuple[str, int], float]:
    """Return the values of metrics in a spool, by key and step."""
    points: dict[tuple[str, int], float] = {}
    for entry in spool.entries():
        for key, value, _, step in entry.content.get("points", ()):
            points[key, step] = value
    return points
