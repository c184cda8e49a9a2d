"""Record how busy the machine is while a run lasts, as MLflow's tab *System metrics* shows it."""

from collections.abc import Mapping
from contextlib import suppress

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from fer.errors import FerError
from fer.tracking.endings import SYSTEM_METRICS
from fer.tracking.runs import TrackedRun


class SystemMetrics(SystemMetricsMonitor):
    """MLflow's own gauges, which record into the run's outbox: MLflow's would wait for the server and give up.

    Args:
        run: The run.
        step: The step to begin with; of a continued run the one after its last.
    """

    def __init__(self, run: TrackedRun, step: int) -> None:
        super().__init__(run.id, tracking_uri=run.address or None)  # type: ignore[no-untyped-call]
        self._run = run
        self._logging_step = step

    def monitor(self) -> None:
        """Look at the gauges until the run ends."""
        while True:
            self.collect_metrics()  # type: ignore[no-untyped-call]
            if self._shutdown_event.wait(self.sampling_interval):
                return
            self.publish_metrics(self.aggregate_metrics())  # type: ignore[no-untyped-call]

    def publish_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record what the gauges show."""
        # A full disk is said by whoever records what counts.
        with suppress(FerError):
            self._run.metrics({SYSTEM_METRICS + key: value for key, value in metrics.items()}, self._logging_step)
        self._logging_step += 1
        for monitor in self.monitors:
            monitor.clear_metrics()  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """Record no more."""
        self._shutdown_event.set()
