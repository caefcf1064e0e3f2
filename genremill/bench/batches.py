"""Batches of growing size: how long one takes, how many windows per second that is, and the memory it needs."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from genremill.bench.memory import MemorySampler, peak_mib, reset_peak
from genremill.bench.target import PRECISION_LABELS, Target, load_target_model, windows_per_track
from worker.inference.batch import PCM_SCALE
from worker.inference.batch_size import BatchCost, is_flat
from worker.inference.executors import compute, is_out_of_memory
from worker.models.checkpoints import Model

MAX_WINDOWS = {"CPU": 64, "GPU": 4096}  # Windows in the largest batch that is tried.
WARM_UP_BATCHES = 2  # Batches before those that are timed.
MIN_TIMED_BATCHES = 5
MIN_TIMED_S = 0.5  # Seconds that the timed batches take together, at least.
NOISE_AMPLITUDE = 9000  # Of the int16 samples that are predicted: about a quarter of full scale.


@dataclass(frozen=True)
class BatchPoint:
    """The figures of one batch size. Memory is VRAM on a GPU, and the process's resident memory on a CPU."""

    batch: int  # windows
    latency_ms: float
    windows_per_s: float
    tracks_per_s: float
    peak_mib: float
    mean_mib: float


@dataclass(frozen=True)
class BatchSeries:
    """The figures of a model on a target, by growing batch size."""

    device: str  # GPU or CPU
    precision: str
    points: list[BatchPoint]
    end: str  # Why there is no larger batch, as a line for the table.


class BatchTooLargeError(Exception):
    """A batch does not fit into memory. The message is a line for the table."""


def measure_batches(name: str, target: Target, max_windows: int | None = None) -> BatchSeries:
    """Measure batches of 1, 2, 4... windows, until memory ends, the rate is flat, or max_windows are reached.

    A CPU is measured in one thread, as one of the engine's threads works, of which every core has one.
    """
    torch.set_num_threads(1)
    model = load_target_model(name, target)
    limit = max_windows or MAX_WINDOWS[target.device_kind]
    sizes = (1 << exponent for exponent in range(limit.bit_length()))
    points, end = measure_growing(partial(time_batch, model, target.device), sizes)
    reset_peak(target.device)
    return BatchSeries(target.device_kind, PRECISION_LABELS[model.dtype], points, end)


def measure_growing(measure: Callable[[int], BatchPoint], sizes: Iterable[int]) -> tuple[list[BatchPoint], str]:
    """The points of growing sizes, and why they end. `measure` may raise BatchTooLargeError."""
    points: list[BatchPoint] = []
    for size in sizes:
        try:
            points.append(measure(size))
        except BatchTooLargeError as error:
            return points, str(error)
        if is_flat([BatchCost(point.batch, point.latency_ms / 1e3, 0) for point in points]):
            return points, "larger batches are no faster"
    return points, "larger batches are not tried"


def time_batch(model: Model, device: str, size: int) -> BatchPoint:
    """Time batches of this size, one at a time: from int16 windows in host memory to probabilities in host memory.

    Raises BatchTooLargeError when such a batch does not fit into memory.
    """
    reset_peak(device)
    try:
        predict = partial(_predict, model, device, make_noise(size, model.window, pinned=device != "cpu"))
        for _ in range(WARM_UP_BATCHES):
            predict()
        with MemorySampler(device) as memory:
            latency_s = _median_s(predict)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise BatchTooLargeError(f"batches of {size}: out of memory at {peak_mib(device):.0f} MiB") from None
    windows_per_s = size / latency_s
    tracks_per_s = windows_per_s / windows_per_track(model)
    return BatchPoint(size, latency_s * 1e3, windows_per_s, tracks_per_s, memory.peak_mib, memory.mean_mib)


def make_noise(windows: int, samples: int, pinned: bool = False) -> Tensor:
    """Windows of noise: int16 (windows, samples) in host memory, which is pinned where a GPU is to copy it fast."""
    generator = np.random.default_rng(0)
    pcm = torch.from_numpy(generator.integers(-NOISE_AMPLITUDE, NOISE_AMPLITUDE, (windows, samples), np.int16))
    return pcm.pin_memory() if pinned else pcm


@torch.inference_mode()
def _predict(model: Model, device: str, pcm: Tensor) -> Tensor:
    waveforms = pcm.to(device, non_blocking=True) * PCM_SCALE
    return compute(model, waveforms, (), False).cpu()  # cpu() waits for the GPU.


def _median_s(work: Callable[[], object]) -> float:
    """The median of the seconds that the work takes each time."""
    times_s: list[float] = []
    while len(times_s) < MIN_TIMED_BATCHES or sum(times_s) < MIN_TIMED_S:
        start = time.perf_counter()
        work()
        times_s.append(time.perf_counter() - start)
    return statistics.median(times_s)
