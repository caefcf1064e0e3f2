"""A run of the product on a shared GPU, observed from outside while it lasts."""

import argparse
import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import settings
from benchmarks.shared_gpu.competitor_process import Change, competitor, held_mib_at, print_changes, read_changes
from benchmarks.throughput import endtoend, product
from benchmarks.tracks import link_tracks
from worker.celery import app
from worker.gpu import devices, nvml

BYTES_PER_MIB = 1 << 20
VRAM_SAMPLE_S = 0.02  # Seconds between two readings of the card's memory.
WORKER_SAMPLE_S = 0.5  # Seconds between two questions to the worker.
WORKER_ANSWER_S = 2  # Seconds that the worker has to answer.
PRINTED_COUNTERS = ("windows", "batches", "batch", "limit", "best", "out_of_memory", "on_cpu")


def add_run_arguments(parser: argparse.ArgumentParser, tracks: int) -> None:
    """The options of the run; `tracks` is the default number of tracks."""
    parser.add_argument("folder", type=Path, help="what the part `library` made")
    parser.add_argument("--model", required=True)
    parser.add_argument("--tracks", type=int, default=tracks, help=f"how many (default: {tracks})")
    parser.add_argument("--coverage", choices=("regions", "full"), default="regions")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--amp", help="auto, bf16, fp16 or off (default: the setting's)")


def analyse_beside_competitor(
    options: argparse.Namespace, competitor_arguments: Sequence[str], *, before_worker: bool
) -> None:
    """Measure a run beside a competitor and print.

    competitor_arguments: see benchmarks.shared_gpu.competitor. before_worker: whether it is there before the worker
    starts, or comes when the worker is warm.
    """
    root, checkpoint = link_tracks(options.folder, options.tracks), product.find_or_seed_weights(options.model)
    uuid = devices.choose_devices(options.device)[0].visible
    log = settings.load().data_dir / "competitor.jsonl"
    print(f"{options.tracks} tracks, {options.coverage}, {options.model} on {options.device}", flush=True)
    before = during = contextlib.nullcontext()
    if before_worker:
        before = competitor(log, uuid, competitor_arguments)
    else:
        during = competitor(log, uuid, competitor_arguments)
    with before, VramSampler(uuid) as vram, product.running() as (stack, database):
        product.warm_up(stack, database, options.folder / "warm-up", checkpoint)
        with during, WorkerSampler() as worker:
            run = product.measure(stack, database, root, checkpoint, options.coverage)
    changes = read_changes(log)
    worker.print_answers(changes)
    print_changes(changes, vram.total_mib)
    print(f"VRAM in use: {vram.first_mib} MiB before the worker, at most {vram.peak_mib} of {vram.total_mib} MiB")
    print(f"least free {vram.total_mib - vram.peak_mib} MiB, most on top {vram.peak_mib - vram.first_mib} MiB")
    endtoend.print_run(run)


class Sampler:
    """Calls sample() again and again in a thread of its own, from entering it to leaving it."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        stopped = False
        while not stopped:  # The last sample comes after the stop, so that it sees the end.
            stopped = self._stopped.wait(self._interval_s)
            self.sample()

    def sample(self) -> None:
        """Take one sample."""
        raise NotImplementedError


class VramSampler(Sampler):
    """The memory in use on a GPU: at first, and the most since then."""

    def __init__(self, gpu_uuid: str) -> None:
        super().__init__(VRAM_SAMPLE_S)
        self._uuid = gpu_uuid
        self.total_mib = nvml.read_usage(gpu_uuid).total_bytes // BYTES_PER_MIB
        self.first_mib = self.peak_mib = self._read_used_mib()

    def _read_used_mib(self) -> int:
        return self.total_mib - nvml.read_usage(self._uuid).free_bytes // BYTES_PER_MIB

    def sample(self) -> None:
        """Read the memory in use."""
        self.peak_mib = max(self.peak_mib, self._read_used_mib())


class WorkerSampler(Sampler):
    """What the worker says of its GPU, as `celery -A worker inspect gpu` prints it."""

    def __init__(self) -> None:
        super().__init__(WORKER_SAMPLE_S)
        self._answers: list[tuple[float, list[dict[str, Any]]]] = []  # The time, and what each node says.

    def sample(self) -> None:
        """Ask the worker."""
        self._answers.append((time.time(), app.control.broadcast("gpu", reply=True, limit=1, timeout=WORKER_ANSWER_S)))

    def print_answers(self, changes: list[Change]) -> None:
        """Print the answers, each with what the competitor held at that moment."""
        for time_s, nodes in self._answers:
            elapsed_s, held_mib = time_s - self._answers[0][0], held_mib_at(changes, time_s)
            for figures in (figures for node in nodes for figures in node.values()):
                (model,) = figures["models"]
                counters = ", ".join(f"{name} {model[name]}" for name in PRINTED_COUNTERS)
                used_mib, free_mib = (figures[name] // BYTES_PER_MIB for name in ("process_bytes", "free_bytes"))
                print(
                    f"{elapsed_s:7.2f} s, the competitor holds {held_mib:6} MiB, the worker {used_mib}, "
                    f"free {free_mib}: {counters}"
                )
