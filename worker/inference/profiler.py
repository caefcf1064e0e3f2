"""What a model costs on this GPU: tried once, and kept."""

import json
import logging
import math
import re
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from worker.gpu import nvml
from worker.inference.batch import Batch, BatchSlice
from worker.inference.batch_size import MIN_BATCH_S, SIZES, BatchCost, Profile, is_flat
from worker.inference.executors import GpuExecutor, is_out_of_memory
from worker.models.checkpoints import Model
from worker.windowing import REGIONS, NativeLayout

REPEATS = 3  # batches of a size, at least
TRIED_S = 0.1  # that a size is tried, at least: less, and chance decides between sizes
USUAL_HZ = 44_100
INPUT = "native 4"  # what batches are made of, and how they are tried: other profiles are measured again
BUSY = 0.5  # of the time: somebody else computes on the GPU

log = logging.getLogger(__name__)


def profile(model: Model, gpu: GpuExecutor, folder: Path | None) -> Profile:
    """What batches of this model cost on this GPU: as it is kept in the folder, or measured. What was measured beside
    others that used the card is not kept. Afterwards the libraries have their plans for every size up to the best."""
    file = folder / _file_name(model, gpu) if folder else None
    kept = _read(file)
    if kept is not None:
        _warm_up(model, gpu, kept)
        return kept
    alone = _busy() < BUSY
    costs, complete = measure(model, gpu)
    gpu.empty_cache()
    if file is not None and complete and alone:
        folder.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps([asdict(cost) for cost in costs]))
        partial.replace(file)
    return Profile(tuple(costs), complete)


def _read(file: Path | None) -> Profile | None:
    if file is None or not file.is_file():
        return None
    try:
        costs = tuple(BatchCost(**cost) for cost in json.loads(file.read_text()))
    except (ValueError, TypeError):
        log.warning("%s is damaged, and measured again", file)
        return None
    return Profile(costs) if [cost.batch for cost in costs] == list(SIZES[: len(costs)]) else None


@torch.inference_mode()
def _warm_up(model: Model, gpu: GpuExecutor, kept: Profile) -> None:
    for size in SIZES[: SIZES.index(kept.fitting(gpu.free_bytes()) or SIZES[0]) + 1]:
        try:
            gpu.start(_noise(model, size))()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
    gpu.empty_cache()


def _busy() -> float:
    """The part of the time, 0 to 1, that this process's GPU computed lately, for whomever; 0 where it does not say."""
    (gpu, *_) = nvml.gpus() or [None]
    return (nvml.usage(gpu.uuid).utilization or 0.0) if gpu else 0.0


def _file_name(model: Model, gpu: GpuExecutor) -> str:
    weights = model.checkpoint.sha256[:12] if model.checkpoint else "none"
    name = model.checkpoint.name if model.checkpoint else "model"
    key = f"{INPUT} {gpu.name} {name} {weights} {model.dtype} {torch.__version__}"
    return re.sub(r"[^\w.+-]+", "_", key) + ".json"


def measure(model: Model, gpu: GpuExecutor) -> tuple[list[BatchCost], bool]:
    """Batches of SIZES until the rate is flat and they last, and whether it came to that: or memory ended before."""
    costs: list[BatchCost] = []
    for size in SIZES:
        if is_flat(costs) and costs[-1].seconds >= MIN_BATCH_S:
            break
        try:
            seconds, peak_bytes = _try(model, gpu, size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            gpu.empty_cache()
            log.warning("%s: no room to try %d windows: %s", gpu.name, size, error)
            return costs, False
        highest = max(peak_bytes, costs[-1].peak_bytes if costs else 0)
        costs.append(BatchCost(size, seconds, highest))
    return costs, True


@torch.inference_mode()
def _try(model: Model, gpu: GpuExecutor, size: int) -> tuple[float, int]:
    """Seconds of a batch of so many windows, and the most bytes reserved for it beside what was in use."""
    batch = _noise(model, size)
    gpu.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    in_use = torch.cuda.memory_allocated()
    gpu.start(batch)()
    results, began = [], time.perf_counter()
    while len(results) < REPEATS or time.perf_counter() - began < TRIED_S:
        results.append(gpu.start(batch))
    for result in results:
        result()
    seconds = (time.perf_counter() - began) / len(results)
    return seconds, torch.cuda.max_memory_reserved() - in_use


def _noise(model: Model, windows: int) -> Batch:
    """Windows as the children hand them over: regions of tracks in stereo at USUAL_HZ, here always the same ones."""
    windowing = model.windowing()
    native = NativeLayout(USUAL_HZ, (0,) * REGIONS, windowing.region_windows, windowing.stride)
    pcm = torch.randint(-9000, 9000, (REGIONS, windowing.region_frames(USUAL_HZ), 2), dtype=torch.int16).pin_memory()
    batch = Batch((BatchSlice(pcm, native, 0, len(native)),) * math.ceil(windows / len(native))).part(0, windows)
    if not model.hop:
        return batch
    frames = torch.full((windows,), (model.window // model.hop) // 2)
    return replace(batch, frame_args=(frames, torch.full((windows,), torch.nan)))
