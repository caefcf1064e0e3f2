"""The figures of a worker, in the form in which Prometheus fetches them."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

MEMORY_KINDS = ("total", "used", "free", "reserved", "allocated")  # Each is a figure KIND_bytes of the worker.

# Figures of each model, by their key: the name of the metric, and what it says of it to people.
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

Figures = Callable[[], dict[str, Any]]  # Telemetry.figures().


def serve(address: str, port: int, figures: Figures) -> WSGIServer | None:
    """Answer Prometheus at this address and port. Returns the server.

    Where the port cannot be listened on, it writes a warning into the log and returns None.
    """
    registry = CollectorRegistry()
    registry.register(WorkerCollector(figures))
    try:
        server, _ = start_http_server(port, address, registry)
    except (OSError, OverflowError) as error:
        log.warning("no metrics on %s:%d: %s; see GENREMILL_METRICS_PORT", address, port, error)
        return None
    return server


class WorkerCollector(Collector):
    """The figures of Telemetry as metrics."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def describe(self) -> list[Metric]:
        """No metrics: without this method, registering the collector would ask for the figures."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now, without those that the device does not tell."""
        figures = self._figures()
        node = figures["node"]
        memory = GaugeMetricFamily("genremill_gpu_memory_bytes", "VRAM of the worker's GPU", labels=["node", "kind"])
        for kind in MEMORY_KINDS:
            _add(memory, [node, kind], figures[f"{kind}_bytes"])
        utilization = GaugeMetricFamily("genremill_gpu_utilization_ratio", "How busy the GPU is", labels=["node"])
        _add(utilization, [node], figures["utilization"])
        jobs = GaugeMetricFamily("genremill_jobs_held", "Jobs that the worker holds", labels=["node"])
        _add(jobs, [node], figures["jobs"])
        yield from (memory, utilization, jobs)
        yield from _collect_of_models(GaugeMetricFamily, GAUGES, figures)
        yield from _collect_of_models(CounterMetricFamily, COUNTERS, figures)


def _collect_of_models(
    family: type[GaugeMetricFamily] | type[CounterMetricFamily],
    names_and_texts: dict[str, tuple[str, str]],
    figures: dict[str, Any],
) -> Iterator[Metric]:
    """A metric of each name, with a value for each model."""
    for key, (name, text) in names_and_texts.items():
        metric = family(name, text, labels=["node", "model", "dtype"])
        for model in figures["models"]:
            _add(metric, [figures["node"], model["model"], model["dtype"]], model[key])
        yield metric


def _add(metric: GaugeMetricFamily | CounterMetricFamily, labels: Sequence[str], value: float | None) -> None:
    if value is not None:
        metric.add_metric(labels, value)
