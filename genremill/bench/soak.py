"""The engine kept busy for minutes, which shows whether its memory grows or its rate falls."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genremill.bench.batches import make_noise
from genremill.bench.memory import driver_vram_mib, resident_mib
from genremill.bench.target import PRECISION_LABELS, Target, load_target_model, start_engine, windows_per_track
from settings import GenremillError
from worker.errors import UnclassifiableError
from worker.inference.engine import Engine
from worker.inference.requests import WindowRequest
from worker.windowing import FrameCut

MAX_SETTLE_S = 60.0  # Seconds from the start in which memory may still grow. Of a short soak it is SETTLE_SHARE.
SETTLE_SHARE = 1 / 4
WINDOWS_IN_ENGINE = {"CPU": 64, "GPU": 4096}  # Windows that the engine has at any time.
SAMPLE_INTERVAL_S = 1.0


@dataclass(frozen=True)
class SoakSample:
    """What a busy engine has done by one moment, and the memory that it uses."""

    at_s: float  # Seconds since the start.
    windows: int  # Windows predicted since the start.
    rss_mib: float  # Resident memory of this process.
    vram_mib: float | None  # VRAM as the driver counts it; None without a GPU.


@dataclass(frozen=True)
class MemoryDrift:
    """How much memory grew after the engine had settled."""

    memory: str  # VRAM or RSS
    settled_mib: float
    end_mib: float
    drift_percent: float
    peak_mib: float


@dataclass(frozen=True)
class Soak:
    """The figures of a soak. The first and the last rate are those of settle_s seconds each."""

    device: str  # GPU or CPU
    precision: str
    settle_s: float
    first_windows_per_s: float
    last_windows_per_s: float
    drifts: list[MemoryDrift]
    samples: list[SoakSample]


def measure_soak(name: str, target: Target, minutes: float) -> Soak:
    """Keep the engine busy with windows that are in memory. Raises GenremillError when it fails on them."""
    model = load_target_model(name, target)
    engine = start_engine(model, target.device)
    track_windows = windows_per_track(model)
    pcm = make_noise(track_windows, model.window, pinned=target.device != "cpu").numpy()
    load = _EngineLoad(engine, pcm, model.windowing().frame_cut)
    try:
        load.start(max(1, WINDOWS_IN_ENGINE[target.device_kind] // track_windows))
        samples = _take_samples(load, target.device, minutes * 60)
    finally:
        load.stop()
        engine.close()
    return summarise(target.device_kind, PRECISION_LABELS[model.dtype], samples)


class _EngineLoad:
    """A constant load: as soon as the engine has predicted a request, the same windows are submitted again."""

    def __init__(self, engine: Engine, pcm: npt.NDArray[np.int16], cut: FrameCut | None) -> None:
        self.windows = 0  # Windows predicted so far.
        self.error: Exception | None = None
        self._engine = engine
        self._pcm = pcm
        self._cut = cut
        self._lock = threading.Lock()
        self._stopped = False

    def start(self, requests: int) -> None:
        """Submit so many requests, which are in the engine from now on."""
        for _ in range(requests):
            self._submit()

    def stop(self) -> None:
        """Submit nothing any more. What is in the engine is still predicted."""
        with self._lock:
            self._stopped = True

    def _submit(self) -> None:
        self._engine.submit(WindowRequest(self._pcm, lambda: None, self._on_result, self._on_error, self._cut))

    def _on_result(self, probabilities: npt.NDArray[np.float32]) -> None:
        with self._lock:
            self.windows += len(probabilities)
            if not self._stopped:
                self._submit()

    def _on_error(self, error: UnclassifiableError) -> None:
        self.error = error


def _take_samples(load: _EngineLoad, device: str, duration_s: float) -> list[SoakSample]:
    """Take a sample each second until the time is over. Raises GenremillError when the engine has failed."""
    start = time.monotonic()
    samples: list[SoakSample] = []
    while not samples or samples[-1].at_s < duration_s:
        if samples:
            time.sleep(min(SAMPLE_INTERVAL_S, duration_s - samples[-1].at_s))
        samples.append(SoakSample(time.monotonic() - start, load.windows, resident_mib(), driver_vram_mib(device)))
        if load.error is not None:
            raise GenremillError(f"the soak ended after {samples[-1].at_s:.0f} s: {load.error}")
    return samples


def summarise(device: str, precision: str, samples: Sequence[SoakSample]) -> Soak:
    """The rates and drifts of a soak of which there are at least two samples."""
    end = samples[-1]
    settle_s = min(MAX_SETTLE_S, end.at_s * SETTLE_SHARE)
    settled = next(sample for sample in samples if sample.at_s >= settle_s)
    last_stretch = next(sample for sample in reversed(samples[:-1]) if sample.at_s <= end.at_s - settle_s)
    return Soak(
        device,
        precision,
        settle_s,
        settled.windows / settled.at_s,
        (end.windows - last_stretch.windows) / (end.at_s - last_stretch.at_s),
        _measure_drifts(samples, settled),
        list(samples),
    )


def _measure_drifts(samples: Sequence[SoakSample], settled: SoakSample) -> list[MemoryDrift]:
    readers: dict[str, Callable[[SoakSample], float | None]] = {
        "VRAM": lambda sample: sample.vram_mib,
        "RSS": lambda sample: sample.rss_mib,
    }
    drifts = []
    for memory, read in readers.items():
        settled_mib, end_mib = read(settled), read(samples[-1])
        if settled_mib is not None and end_mib is not None:
            percent = (end_mib - settled_mib) / settled_mib * 100
            peak_mib = max(mib for mib in map(read, samples) if mib is not None)
            drifts.append(MemoryDrift(memory, settled_mib, end_mib, percent, peak_mib))
    return drifts
