"""The figures of a worker, for Prometheus."""

import logging
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

MEMORY = ("total", "used", "free", "reserved", "allocated")
GAUGES = {
    "batch": ("genremill_batch_windows", "Windows in the last batch"),
    "limit": ("genremill_batch_limit_windows", "Windows that a batch may have now"),
}
COUNTERS = {
    "windows": ("genremill_windows", "Windows predicted"),
    "out_of_memory": ("genremill_out_of_memory", "Batches that were cut, for lack of VRAM"),
    "on_cpu": ("genremill_cpu_fallback_windows", "Windows predicted on the CPU, for lack of VRAM"),
}

log = logging.getLogger(__name__)


def serve(address: str, port: int, figures: Callable[[], dict]):
    """Answer Prometheus there. Returns the server; None, and a warning in the log, where it cannot listen."""
    registry = CollectorRegistry()
    registry.register(Figures(figures))
    try:
        server, _ = start_http_server(port, address, registry)
    except (OSError, OverflowError) as error:
        log.warning("no metrics on %s:%d: %s; see GENREMILL_METRICS_PORT", address, port, error)
        return None
    return server


class Figures(Collector):
    """Telemetry.figures() as metrics."""

    def __init__(self, figures: Callable[[], dict]):
        self._figures = figures

    def describe(self) -> list[Metric]:
        """Nothing in advance: registering asks for no figures."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics now; what the device does not tell is left out."""
        figures = self._figures()
        node = figures["node"]
        memory = GaugeMetricFamily("genremill_gpu_memory_bytes", "VRAM of the worker's GPU", labels=["node", "kind"])
        for kind in MEMORY:
            _add(memory, [node, kind], figures[f"{kind}_bytes"])
        utilization = GaugeMetricFamily("genremill_gpu_utilization_ratio", "How busy the GPU is", labels=["node"])
        _add(utilization, [node], figures["utilization"])
        jobs = GaugeMetricFamily("genremill_jobs_held", "Jobs that the worker holds", labels=["node"])
        _add(jobs, [node], figures["jobs"])
        yield from (memory, utilization, jobs)
        for family, table in ((GaugeMetricFamily, GAUGES), (CounterMetricFamily, COUNTERS)):
            for key, (name, says) in table.items():
                metric = family(name, says, labels=["node", "model", "dtype"])
                for model in figures["models"]:
                    _add(metric, [node, model["model"], model["dtype"]], model[key])
                yield metric


def _add(metric, labels: list[str], value: float | None) -> None:
    if value is not None:
        metric.add_metric(labels, value)
