"""Telemetry of engines that tests make up."""

from tests.support.fake_nvml import FakeNvml
from worker.inference.batch_size import Counters
from worker.monitoring.telemetry import Telemetry

JOBS = 3


def watch(device: str, *counters: Counters, library: FakeNvml | None = None) -> Telemetry:
    """A telemetry that was not started, of a worker that holds JOBS jobs and has an engine for each of the counters."""
    engines = [("musicnn", "bfloat16", one) for one in counters]
    return Telemetry("gpu0@host", device, lambda: engines, lambda: JOBS, library)
