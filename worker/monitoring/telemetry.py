"""A worker watches itself: memory, batches, windows per second. `celery -A worker inspect gpu` asks for it."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery.worker.control import inspect_command
from celery.worker.state import active_requests

import settings
from worker.gpu import nvml
from worker.gpu.nvml import Usage
from worker.monitoring import memory_trend
from worker.monitoring.memory_trend import MIB, Sample

if TYPE_CHECKING:
    from worker.inference.batch_size import Counters

INTERVAL_S = 1.0  # between two samples
STOP_S = 5.0  # that the end of a worker waits for a GPU that does not answer
HISTORY = 600  # samples
RATE_SAMPLES = 6  # windows per second are counted over so many
CURVE_POINTS = 120
SUMMED = ("windows", "out_of_memory", "on_cpu")  # of engines with the same model and dtype

Engines = Callable[[], "Iterable[tuple[str, str, Counters]]"]  # model, dtype, what its engine has done

log = logging.getLogger(__name__)


class Telemetry:
    """Samples this process and its device from a thread of its own.

    device: "cpu" or "cuda:0". jobs: how many are held. library: pynvml, or what looks like it.
    """

    def __init__(
        self,
        node: str,
        device: str,
        engines: Engines,
        jobs: Callable[[], int] = lambda: len(active_requests),
        library: Any | None = None,
    ):
        self.node, self.device = node, device
        self._engines, self._jobs, self._library = engines, jobs, library
        found = nvml.gpus(library) if device != "cpu" else []
        self._gpu = found[0] if found else None
        self._usage = Usage()
        self._samples: deque[Sample] = deque(maxlen=HISTORY)
        self._windows: deque[tuple[float, dict[tuple[str, str], int]]] = deque(maxlen=RATE_SAMPLES)
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="telemetry", daemon=True)
        self._server = None

    def start(self) -> "Telemetry":
        """Begin to sample; answer `inspect gpu` in this process, and Prometheus where the launcher gave a port."""
        global _current
        _current = self
        port = int(os.environ.get("GENREMILL_WORKER_METRICS_PORT") or 0)
        if port:
            from worker.monitoring import prometheus

            self._server = prometheus.serve(settings.load().metrics_address, port, self.figures)
        self._thread.start()
        return self

    def close(self) -> None:
        """End what start() began."""
        global _current
        _current = None
        self._closed.set()
        self._thread.join(STOP_S)
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _work(self) -> None:
        while True:
            try:
                self.sample()
            except Exception:  # a figure that cannot be had does not end the worker
                log.warning("no telemetry any more", exc_info=True)
                return
            if self._closed.wait(INTERVAL_S):
                return

    def sample(self) -> None:
        """Look at everything once."""
        usage = nvml.usage(self._gpu.uuid, self._library) if self._gpu else Usage()
        models = self._models()
        batches = sum(model["batches"] for model in models.values())
        moment = time.time()
        sample = self._sample_cpu(moment, batches) if self.device == "cpu" else self._sample_gpu(moment, batches, usage)
        with self._lock:
            self._usage = usage
            self._samples.append(sample)
            self._windows.append((moment, {key: model["windows"] for key, model in models.items()}))

    def _sample_cpu(self, moment: float, batches: int) -> Sample:
        rss_bytes = _rss_bytes()
        return Sample(moment, rss_bytes, 0, rss_bytes, rss_bytes, batches)

    def _sample_gpu(self, moment: float, batches: int, usage: Usage) -> Sample:
        from torch import cuda  # asks nothing of a GPU before the worker has begun to use it

        reserved_bytes = cuda.memory_reserved()
        own = (process.used_bytes for process in usage.processes if process.pid == os.getpid())
        used_bytes = next(own, None) or reserved_bytes
        return Sample(moment, used_bytes, reserved_bytes, cuda.memory_allocated(), cuda.max_memory_allocated(), batches)

    def _models(self) -> dict[tuple[str, str], dict]:
        """What the engines have done, by model and dtype."""
        models: dict[tuple[str, str], dict] = {}
        for name, dtype, counters in self._engines():
            figures = asdict(counters)
            before = models.get((name, dtype), {})
            figures.update({key: figures[key] + before.get(key, 0) for key in (*SUMMED, "batches")})
            models[name, dtype] = {"model": name, "dtype": dtype, **figures}
        return models

    def figures(self) -> dict[str, Any]:
        """Everything that is known now, ready for JSON; None is what the device does not tell."""
        with self._lock:
            usage, samples, windows = self._usage, list(self._samples), list(self._windows)
        models = self._models()
        rates = {key: _rate(windows, key) for key in models}
        gpu, last, on_gpu = self._gpu, samples[-1] if samples else None, self.device != "cpu"
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
            "reserved_bytes": last.reserved_bytes if last and on_gpu else None,
            "allocated_bytes": last.allocated_bytes if last and on_gpu else None,
            "process_bytes": last.used_bytes if last else None,  # of VRAM; of RAM on a CPU
            "jobs": self._jobs(),
            "windows_per_s": sum(rates.values()),
            "models": [{**model, "windows_per_s": rates[key]} for key, model in models.items()],
            "verdict": asdict(memory_trend.diagnose(samples)),
            "curve": curve([sample.used_bytes for sample in samples]),
            "curve_s": samples[-1].time_s - samples[0].time_s if samples else 0.0,
        }


def curve(used_bytes: list[int]) -> list[int]:
    """A series in at most CURVE_POINTS points, each the most MiB of its part: no peak is lost."""
    size = -(-len(used_bytes) // CURVE_POINTS) or 1
    return [max(used_bytes[begin : begin + size]) // MIB for begin in range(0, len(used_bytes), size)]


def _rate(windows: list[tuple[float, dict]], key: tuple[str, str]) -> float:
    """Windows per second, from the first to the last of these samples."""
    if len(windows) < 2:
        return 0.0
    (began, before), (ended, after) = windows[0], windows[-1]
    return max(0.0, (after.get(key, 0) - before.get(key, 0)) / max(ended - began, 1e-3))


def _rss_bytes() -> int:
    try:
        resident = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux
        return 0
    return resident * os.sysconf("SC_PAGE_SIZE")


_current: Telemetry | None = None


@inspect_command()
def gpu(state, **_options) -> dict:
    """VRAM, batches, windows per second, and whether memory leaks."""
    return _current.figures() if _current else {"error": "this worker does not watch itself"}
