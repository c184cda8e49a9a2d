"""The machine's gauges while a run lasts."""

import threading
import time

from fer.errors import DataError
from fer.tracking.endings import SYSTEM_METRICS
from fer.tracking.system_metrics import SystemMetrics


class FullAtFirst:
    """A run whose disk has no space left for the first two samples."""

    id = "0" * 32
    address = ""

    def __init__(self) -> None:
        self.asked = 0
        self.points: list[tuple[int, dict[str, float]]] = []

    def metrics(self, values: dict[str, float], step: int) -> None:
        self.asked += 1
        if self.asked <= 2:
            raise DataError("no space left")
        self.points.append((step, values))


def test_gauges_pass_over_what_a_full_disk_does_not_take_and_go_on(monkeypatch):
    faults: list[object] = []
    monkeypatch.setattr(threading, "excepthook", faults.append)
    run = FullAtFirst()
    gauges = SystemMetrics(run, step=5)  # type: ignore[arg-type]
    gauges.sampling_interval = 0.01
    gauges.start()
    until = time.monotonic() + 20
    while len(run.points) < 2 and not faults and time.monotonic() < until:
        time.sleep(0.01)
    gauges.finish()
    assert not faults
    # Steps count the samples, those included that were lost.
    assert [step for step, _ in run.points[:2]] == [7, 8]
    assert all(key.startswith(SYSTEM_METRICS) for key in run.points[0][1])
