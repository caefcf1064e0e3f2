"""A worker process watches itself: its memory, its batches, its windows per second.

`celery -A worker inspect gpu` asks every worker for these figures, as `genremill gpu` does, and Prometheus may.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any
from wsgiref.simple_server import WSGIServer

from celery.worker.control import inspect_command
from celery.worker.state import active_requests

import settings
from worker.gpu import nvml
from worker.gpu.nvml import Usage
from worker.gpu.nvml_library import NvmlLibrary
from worker.inference.batch_size import Counters
from worker.monitoring import memory_trend
from worker.monitoring.memory_trend import MIB, Sample
from worker.monitoring.resident_memory import resident_bytes

SAMPLE_INTERVAL_S = 1.0  # Seconds from one sample to the next.
STOP_TIMEOUT_S = 5.0  # Seconds that close() waits for the sampling thread: a broken GPU may never answer it.
HISTORY_SAMPLES = 600  # Samples that are kept, and that a verdict is given on.
RATE_SAMPLES = 6  # Windows per second are counted over so many samples.
CURVE_POINTS = 120  # A curve of the memory in use has at most so many points.
SUMMED_COUNTERS = ("windows", "out_of_memory", "on_cpu", "batches")  # Added up over engines of one model and dtype.

EngineKey = tuple[str, str]  # The name of a model, and the dtype that its network computes in.
EngineCounters = Callable[[], Iterable[tuple[str, str, Counters]]]  # Model, dtype, and what its engine has done.
Json = dict[str, Any]  # What can be written as JSON.

log = logging.getLogger(__name__)


class Telemetry:
    """Samples this process and its device, in a thread of its own. It only observes, and changes nothing.

    node: the worker's Celery node name. device: "cpu" or "cuda:0". engines: asked for the counters of every engine.
    jobs: asked how many jobs the worker holds. library: pynvml, or an object of the same shape.
    """

    def __init__(
        self,
        node: str,
        device: str,
        engines: EngineCounters,
        jobs: Callable[[], int] = lambda: len(active_requests),
        library: NvmlLibrary | None = None,
    ) -> None:
        self.node, self.device = node, device
        self._engines, self._jobs, self._library = engines, jobs, library
        self._gpu = nvml.own_gpu(library) if device != "cpu" else None
        self._usage = Usage()
        self._samples: deque[Sample] = deque(maxlen=HISTORY_SAMPLES)
        # For each of the last samples its time, and the windows that each model had predicted by then.
        self._windows: deque[tuple[float, dict[EngineKey, int]]] = deque(maxlen=RATE_SAMPLES)
        self._lock = threading.Lock()  # Held while the last three attributes are changed or copied.
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_sampling, name="telemetry", daemon=True)
        self._metrics_server: WSGIServer | None = None

    def start(self) -> "Telemetry":
        """Begin to sample, and to answer `inspect gpu` in this process; Prometheus too, where there is a port for it.

        The supervisor gives each worker its port in GENREMILL_WORKER_METRICS_PORT.
        """
        global _process_telemetry
        _process_telemetry = self
        port = int(os.environ.get("GENREMILL_WORKER_METRICS_PORT") or 0)
        if port:
            from worker.monitoring import prometheus

            self._metrics_server = prometheus.serve(settings.load().metrics_address, port, self.figures)
        self._thread.start()
        return self

    def close(self) -> None:
        """End what start() began."""
        global _process_telemetry
        _process_telemetry = None
        self._closed.set()
        self._thread.join(STOP_TIMEOUT_S)
        if self._metrics_server is not None:
            self._metrics_server.shutdown()
            self._metrics_server.server_close()

    def _keep_sampling(self) -> None:
        while True:
            try:
                self.sample()
            except Exception:  # A worker goes on without telemetry.
                log.warning("no telemetry any more", exc_info=True)
                return
            if self._closed.wait(SAMPLE_INTERVAL_S):
                return

    def sample(self) -> None:
        """Take one sample of the memory, the device and the counters."""
        usage = nvml.read_usage(self._gpu.uuid, self._library) if self._gpu else Usage()
        models = self._sum_counters()
        batches = sum(model["batches"] for model in models.values())
        now_s = time.time()
        sample = self._sample_cpu(now_s, batches) if self.device == "cpu" else self._sample_gpu(now_s, batches, usage)
        with self._lock:
            self._usage = usage
            self._samples.append(sample)
            self._windows.append((now_s, {key: model["windows"] for key, model in models.items()}))

    def _sample_cpu(self, time_s: float, batches: int) -> Sample:
        used_bytes = resident_bytes()
        return Sample(time_s, used_bytes, 0, used_bytes, used_bytes, batches)

    def _sample_gpu(self, time_s: float, batches: int, usage: Usage) -> Sample:
        from torch import cuda  # These functions do not start CUDA in a process that has not begun to use it.

        reserved_bytes = cuda.memory_reserved()
        used_bytes = usage.used_by(os.getpid()) or reserved_bytes
        return Sample(time_s, used_bytes, reserved_bytes, cuda.memory_allocated(), cuda.max_memory_allocated(), batches)

    def _sum_counters(self) -> dict[EngineKey, Json]:
        """The counters of the engines by model and dtype; those of several engines of one model are added up."""
        models: dict[EngineKey, Json] = {}
        for name, dtype, counters in self._engines():
            figures = asdict(counters)
            earlier = models.get((name, dtype), {})
            figures.update({key: figures[key] + earlier.get(key, 0) for key in SUMMED_COUNTERS})
            models[name, dtype] = {"model": name, "dtype": dtype, **figures}
        return models

    def figures(self) -> Json:
        """Everything that is known now, ready for JSON. A figure is None where the device does not tell it."""
        with self._lock:
            usage, samples, windows = self._usage, list(self._samples), list(self._windows)
        models = self._sum_counters()
        rates = {key: windows_per_s(windows, key) for key in models}
        gpu, last, is_on_gpu = self._gpu, samples[-1] if samples else None, self.device != "cpu"
        return {
            "node": self.node,
            "pid": os.getpid(),
            "device": self.device,
            "gpu": gpu and gpu.name,
            "uuid": gpu and gpu.uuid,
            "total_bytes": usage.total_bytes,
            "used_bytes": usage.used_bytes,
            "free_bytes": usage.free_bytes,
            "utilization": usage.utilization,
            "reserved_bytes": last.reserved_bytes if last and is_on_gpu else None,
            "allocated_bytes": last.allocated_bytes if last and is_on_gpu else None,
            "process_bytes": last.used_bytes if last else None,  # VRAM on a GPU, RAM on a CPU.
            "jobs": self._jobs(),
            "windows_per_s": sum(rates.values()),
            "models": [{**model, "windows_per_s": rates[key]} for key, model in models.items()],
            "verdict": asdict(memory_trend.diagnose(samples)),
            "curve": curve([sample.used_bytes for sample in samples]),
            "curve_s": samples[-1].time_s - samples[0].time_s if samples else 0.0,
        }


def curve(used_bytes: Sequence[int]) -> list[int]:
    """A series of bytes as at most CURVE_POINTS values in MiB: the highest of each part, so that no peak is lost."""
    part_size = -(-len(used_bytes) // CURVE_POINTS) or 1
    return [max(used_bytes[begin : begin + part_size]) // MIB for begin in range(0, len(used_bytes), part_size)]


def windows_per_s(windows: Sequence[tuple[float, dict[EngineKey, int]]], key: EngineKey) -> float:
    """Windows that a model predicted per second, between the first and the last of these samples.

    windows: for each sample its time in seconds, and the windows that each model had predicted by then.
    """
    if len(windows) < 2:
        return 0.0
    (first_s, first), (last_s, last) = windows[0], windows[-1]
    seconds = max(last_s - first_s, 1e-3)  # The clock may have been set back, or not have moved.
    return max(0.0, (last.get(key, 0) - first.get(key, 0)) / seconds)


# The telemetry that answers `inspect gpu` in this process, between its start() and its close(). Celery calls the
# command below as a plain function, which has no other way to find it.
_process_telemetry: Telemetry | None = None


@inspect_command()  # type: ignore[untyped-decorator]  # celery has no types
def gpu(_state: object, **_options: object) -> Json:
    """VRAM, batches, windows per second, and whether memory leaks."""
    return _process_telemetry.figures() if _process_telemetry else {"error": "this worker does not watch itself"}
