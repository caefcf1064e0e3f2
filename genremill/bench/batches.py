"""Batches of growing size: how long one takes, what that is in windows a second, and the memory it needs."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from genremill.bench.memory import Meter, forget, peak_mib
from genremill.bench.target import SHORT, Mode, load_target_model, windows_per_track
from worker.inference.batch import PCM_SCALE
from worker.inference.batch_size import BatchCost, is_flat
from worker.inference.executors import compute, is_out_of_memory
from worker.models.checkpoints import Model

MOST_WINDOWS = {"CPU": 64, "GPU": 4096}  # the largest batch that is tried
WARM_UP = 2  # batches
REPEATS = 5  # timed batches, at least
LEAST_S = 0.5  # of timed batches


@dataclass(frozen=True)
class Point:
    """One batch size. Memory is VRAM on a GPU, resident memory of the process on a CPU."""

    batch: int  # windows
    latency_ms: float
    windows_per_s: float
    tracks_per_s: float
    peak_mib: float
    mean_mib: float


@dataclass(frozen=True)
class Series:
    """A model in one mode, and why there is no larger batch."""

    device: str  # GPU or CPU
    precision: str
    points: list[Point]
    end: str


class BatchTooLargeError(Exception):
    """A batch does not fit; the message is a line of the table."""


def measure(name: str, mode: Mode) -> Series:
    """Batches of a model in a mode, until memory ends or the rate is flat. On a CPU in one thread, as each of the
    engine's lanes, of which every core has one."""
    torch.set_num_threads(1)
    model = load_target_model(name, mode)
    sizes = (1 << power for power in range(MOST_WINDOWS[mode.kind].bit_length()))
    points, end = climb(partial(time_batch, model, mode.device), sizes)
    forget(mode.device)
    return Series(mode.kind, SHORT[model.dtype], points, end)


def climb(timed: Callable[[int], Point], sizes: Iterable[int]) -> tuple[list[Point], str]:
    """The points of growing sizes, and why they end. `timed` may raise BatchTooLargeError."""
    points = []
    for size in sizes:
        try:
            points.append(timed(size))
        except BatchTooLargeError as error:
            return points, str(error)
        if is_flat([BatchCost(point.batch, point.latency_ms / 1e3, 0) for point in points]):
            return points, "larger batches are no faster"
    return points, "larger batches are not tried"


def time_batch(model: Model, device: str, size: int) -> Point:
    """From int16 windows in host memory to probabilities in host memory, one batch at a time. Raises BatchTooLargeError."""
    forget(device)
    try:
        work = partial(_predict, model, device, noise(size, model.window, pinned=device != "cpu"))
        for _ in range(WARM_UP):
            work()
        with Meter(device) as memory:
            latency_s = _median_s(work)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise BatchTooLargeError(f"batches of {size}: out of memory at {peak_mib(device):.0f} MiB") from None
    rate = size / latency_s
    return Point(size, latency_s * 1e3, rate, rate / windows_per_track(model), memory.peak_mib, memory.mean_mib)


def noise(windows: int, samples: int, pinned: bool = False) -> torch.Tensor:
    """Windows to predict: int16 (windows, samples) in host memory."""
    pcm = np.random.default_rng(0).integers(-9000, 9000, (windows, samples), np.int16)
    return torch.from_numpy(pcm).pin_memory() if pinned else torch.from_numpy(pcm)


@torch.inference_mode()
def _predict(model: Model, device: str, pcm: torch.Tensor) -> torch.Tensor:
    waveforms = pcm.to(device, non_blocking=True) * PCM_SCALE
    return compute(model.network, waveforms, (), False).cpu()  # which waits for the GPU


def _median_s(work: Callable[[], object]) -> float:
    spent_s = []
    while len(spent_s) < REPEATS or sum(spent_s) < LEAST_S:
        began = time.perf_counter()
        work()
        spent_s.append(time.perf_counter() - began)
    return statistics.median(spent_s)
