"""The engine kept busy for minutes: does its memory grow, does its rate fall?"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from genremill.bench.batches import noise
from genremill.bench.memory import resident_mib, vram_mib
from genremill.bench.target import SHORT, Mode, load_target_model, start_engine, windowing_of, windows_per_track
from settings import GenremillError
from worker.inference.engine import Engine
from worker.inference.requests import WindowRequest

SETTLE_S = 60.0  # in which memory may still grow; of a short soak a quarter
IN_FLIGHT_WINDOWS = {"CPU": 64, "GPU": 4096}
SAMPLE_S = 1.0


@dataclass(frozen=True)
class Sample:
    """One look at a busy engine."""

    at_s: float
    windows: int  # predicted so far
    rss_mib: float  # of this process
    vram_mib: float | None  # of this process, as the driver counts; None without a GPU


@dataclass(frozen=True)
class Drift:
    """What memory did after the engine had settled."""

    memory: str  # VRAM or RSS
    settled_mib: float
    end_mib: float
    drift_percent: float
    peak_mib: float


@dataclass(frozen=True)
class Soak:
    """What became of it. Its first and its last stretch are settle_s long."""

    device: str  # GPU or CPU
    precision: str
    settle_s: float
    first_windows_per_s: float
    last_windows_per_s: float
    drifts: list[Drift]
    samples: list[Sample]


def soak(name: str, mode: Mode, minutes: float) -> Soak:
    """Keep the engine busy with windows that are in memory. Raises GenremillError when it fails on them."""
    model = load_target_model(name, mode)
    engine = start_engine(model, mode.device)
    pcm = noise(windows_per_track(model), model.window, pinned=mode.device != "cpu").numpy()
    treadmill = _Treadmill(engine, pcm, windowing_of(model).frames)
    try:
        treadmill.start(max(1, IN_FLIGHT_WINDOWS[mode.kind] // windows_per_track(model)))
        samples = _watch(treadmill, mode.device, minutes * 60)
    finally:
        treadmill.stop()
        engine.close()
    return summarise(mode.kind, SHORT[model.dtype], samples)


class _Treadmill:
    """Tickets that are submitted again as soon as they are scored."""

    def __init__(self, engine: Engine, pcm: np.ndarray, frames: int):
        self._engine, self._pcm, self._frames = engine, pcm, frames
        self._lock, self._stopped = threading.Lock(), False
        self.windows = 0
        self.error: Exception | None = None

    def start(self, requests: int) -> None:
        """Begin with so many tickets in the engine."""
        for _ in range(requests):
            self._submit()

    def stop(self) -> None:
        """What is in the engine is the last."""
        with self._lock:
            self._stopped = True

    def _submit(self) -> None:
        self._engine.submit(WindowRequest(self._pcm, lambda: None, self._scored, self._refused, frames=self._frames))

    def _scored(self, probabilities: np.ndarray) -> None:
        with self._lock:
            self.windows += len(probabilities)
            if not self._stopped:
                self._submit()

    def _refused(self, error: Exception) -> None:
        self.error = error


def _watch(treadmill: _Treadmill, device: str, seconds: float) -> list[Sample]:
    """A sample each second, until the time is over."""
    began, samples = time.monotonic(), []
    while not samples or samples[-1].at_s < seconds:
        if samples:
            time.sleep(min(SAMPLE_S, seconds - samples[-1].at_s))
        samples.append(Sample(time.monotonic() - began, treadmill.windows, resident_mib(), vram_mib(device)))
        if treadmill.error is not None:
            raise GenremillError(f"the soak ended after {samples[-1].at_s:.0f} s: {treadmill.error}")
    return samples


def summarise(device: str, precision: str, samples: list[Sample]) -> Soak:
    """What at least two samples tell."""
    end = samples[-1]
    settle_s = min(SETTLE_S, end.at_s / 4)
    settled = next(sample for sample in samples if sample.at_s >= settle_s)
    late = next(sample for sample in reversed(samples[:-1]) if sample.at_s <= end.at_s - settle_s)
    looks: dict[str, Callable[[Sample], float | None]] = {"VRAM": lambda s: s.vram_mib, "RSS": lambda s: s.rss_mib}
    return Soak(
        device,
        precision,
        settle_s,
        settled.windows / settled.at_s,
        (end.windows - late.windows) / (end.at_s - late.at_s),
        [_drift(name, look, settled, samples) for name, look in looks.items() if look(end) is not None],
        samples,
    )


def _drift(name: str, look: Callable[[Sample], float], settled: Sample, samples: list[Sample]) -> Drift:
    before, end = look(settled), look(samples[-1])
    return Drift(name, before, end, (end - before) / before * 100, max(map(look, samples)))
