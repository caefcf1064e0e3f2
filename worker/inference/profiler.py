"""What batches of a model cost on this GPU: measured once, and kept in a file.

A profile file is JSON: the fields of each BatchCost in a list, [{"batch": 1, "seconds": 0.01, "peak_bytes": 9}, ...].
Its name says what was measured: each model, GPU, dtype and version of torch has a file of its own.
"""

import json
import logging
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from worker.gpu import nvml
from worker.inference.batch import Batch, BatchSlice
from worker.inference.batch_size import BATCH_SIZES, MIN_BATCH_S, BatchCost, Profile, is_flat
from worker.inference.executors import GpuExecutor, Result, is_out_of_memory
from worker.models.checkpoints import Model
from worker.whole_file import whole_file
from worker.windowing import REGIONS, NativeLayout

MIN_REPEATS = 3  # Batches of each size that are timed, at least.
MIN_MEASURE_S = 0.1  # Seconds for which each size is timed, at least: less, and chance decides between sizes.
NOISE_RATE_HZ = 44_100  # Of the regions that are measured: the rate of most music files.
NOISE_PEAK = 9_000  # Of the regions that are measured, in int16: about as loud as music.
MEASURED_INPUT = "native 4"  # What is measured and how, as a word in file names: change it to measure everything again.
BUSY_UTILIZATION = 0.5  # Others use the GPU when it computes for this share of the time before the measurement.

log = logging.getLogger(__name__)


def profile(model: Model, gpu: GpuExecutor, folder: Path | None) -> Profile:
    """What batches of this model cost on this GPU, as the folder has it, or measured now.

    What is measured is kept in the folder, unless others used the GPU or its memory ended before larger batches were no
    faster. Afterwards the libraries have their plans for every size up to the best batch. They keep these plans by
    thread, so the thread that predicts must call this.
    """
    file = folder / profile_file_name(model, gpu.name) if folder else None
    kept = read_profile(file) if file else None
    if kept is not None:
        _warm_up(model, gpu, kept)
        return kept
    alone = _utilization() < BUSY_UTILIZATION
    measured = measure_sizes(gpu, partial(measure_batch, model, gpu))
    gpu.empty_cache()
    if file is not None and measured.complete and alone:
        write_profile(file, measured)
    return measured


def profile_file_name(model: Model, gpu_name: str) -> str:
    """The name of the file that keeps a model's profile on a GPU."""
    checkpoint = model.checkpoint
    words = [MEASURED_INPUT, gpu_name, checkpoint.name, checkpoint.sha256[:12], model.dtype, torch.__version__]
    if model.embedding_size:
        words.append("embeddings")
    return re.sub(r"[^\w.+-]+", "_", " ".join(words)) + ".json"


def read_profile(file: Path) -> Profile | None:
    """The profile that is kept in a file; None when there is no file, or it is damaged or has other batch sizes."""
    if not file.is_file():
        return None
    try:
        costs = tuple(BatchCost(**cost) for cost in json.loads(file.read_text()))
    except (ValueError, TypeError):
        log.warning("%s is damaged, and measured again", file)
        return None
    sizes = tuple(cost.batch for cost in costs)
    return Profile(costs) if sizes == BATCH_SIZES[: len(sizes)] else None


def write_profile(file: Path, measured: Profile) -> None:
    """Keep a profile in a file, whole or not at all. Makes the folder where there is none."""
    with whole_file(file) as unfinished:
        unfinished.write_text(json.dumps([asdict(cost) for cost in measured.costs]))


@torch.inference_mode()
def _warm_up(model: Model, gpu: GpuExecutor, kept: Profile) -> None:
    """Predict a batch of every size that fits now, so that the libraries make their plans."""
    largest = kept.fitting_batch(gpu.free_bytes()) or BATCH_SIZES[0]
    for size in BATCH_SIZES[: BATCH_SIZES.index(largest) + 1]:
        try:
            gpu.start(noise_batch(model, size))()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
    gpu.empty_cache()


def _utilization() -> float:
    """The share of the time, 0 to 1, for which this process's GPU computed lately; 0 where the driver does not say."""
    gpus = nvml.list_gpus()
    return (nvml.read_usage(gpus[0].uuid).utilization or 0.0) if gpus else 0.0


def measure_sizes(gpu: GpuExecutor, measure: Callable[[int], tuple[float, int]]) -> Profile:
    """Measure batches of growing size until they are no faster and take MIN_BATCH_S, or until memory ends.

    measure: gives the seconds and the peak bytes of a batch of so many windows, see measure_batch().
    """
    costs: list[BatchCost] = []
    for size in BATCH_SIZES:
        if is_flat(costs) and costs[-1].seconds >= MIN_BATCH_S:
            break
        try:
            seconds, peak_bytes = measure(size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            gpu.empty_cache()
            log.warning("%s: no room to try %d windows: %s", gpu.name, size, error)
            return Profile(tuple(costs), complete=False)
        costs.append(BatchCost(size, seconds, max(peak_bytes, _last_peak_bytes(costs))))
    return Profile(tuple(costs))


def _last_peak_bytes(costs: Sequence[BatchCost]) -> int:
    """The peak of the largest batch so far, which a larger batch's does not fall below in a Profile."""
    return costs[-1].peak_bytes if costs else 0


@torch.inference_mode()
def measure_batch(model: Model, gpu: GpuExecutor, size: int) -> tuple[float, int]:
    """The seconds that a batch of so many windows takes, and the most bytes of VRAM reserved for it.

    Memory that was in use before does not count. Raises a RuntimeError for which is_out_of_memory() is true when the
    batch does not fit.
    """
    batch = noise_batch(model, size)
    gpu.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    bytes_before = torch.cuda.memory_allocated()
    gpu.start(batch)()
    results: list[Result] = []
    began = time.perf_counter()
    while len(results) < MIN_REPEATS or time.perf_counter() - began < MIN_MEASURE_S:
        results.append(gpu.start(batch))
    for wait in results:
        wait()
    seconds = (time.perf_counter() - began) / len(results)
    return seconds, torch.cuda.max_memory_reserved() - bytes_before


def noise_batch(model: Model, windows: int) -> Batch:
    """Windows as decode processes hand most of them over: regions of stereo files at NOISE_RATE_HZ, in pinned memory.

    All requests of the batch share one set of regions.
    """
    windowing = model.windowing()
    native = NativeLayout(NOISE_RATE_HZ, (0,) * REGIONS, windowing.region_windows, windowing.stride)
    shape = (REGIONS, windowing.region_frames(NOISE_RATE_HZ), 2)
    pcm = torch.randint(-NOISE_PEAK, NOISE_PEAK, shape, dtype=torch.int16).pin_memory()
    requests = math.ceil(windows / len(native))
    batch = Batch((BatchSlice(pcm, native, 0, len(native)),) * requests).part(0, windows)
    if not model.hop:
        return batch
    frames = torch.full((windows,), (model.window // model.hop) // 2)
    return replace(batch, frame_args=(frames, torch.full((windows,), torch.nan)))
