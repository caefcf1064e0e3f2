"""Files to probabilities: the product's own path, and the naive pipeline in the same run."""

import contextlib
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import torch

import settings
from genremill.bench import naive
from genremill.bench.memory import forget
from genremill.bench.pipeline import Pipeline
from genremill.bench.target import SHORT, Mode, load_target_model
from worker.models.checkpoints import Model

COUNTS = (1, 10, 100)
REPEATS = 3  # of a measurement of up to REPEATED_FILES files; the median counts
REPEATED_FILES = 10
WARM_UP_FILES = 8


@dataclass(frozen=True)
class Row:
    """So many files in one way."""

    files: int
    way: str  # genremill or naive
    device: str  # GPU or CPU
    precision: str
    seconds: float
    tracks_per_s: float
    failed: int  # files
    measured: int  # files, whose rate it is
    times_naive: float = 1.0  # as fast as the naive pipeline on the same device


def counts_up_to(files: int) -> list[int]:
    """How many files are measured at a time: 1, 10, 100, and all."""
    return sorted({count for count in COUNTS if count < files} | {files})


def measure(name: str, mode: Mode, paths: Sequence[Path]) -> list[Row]:
    """The product's path, up and warm: decode children, and the engine with its model."""
    model = load_target_model(name, mode)
    pipeline, rows = Pipeline(model, mode.device), []
    try:
        pipeline.analyse(list(islice(cycle(paths), WARM_UP_FILES)))
        for count in counts_up_to(len(paths)):
            seconds, failed = _time(pipeline, paths[:count])
            rate = count / seconds
            rows.append(Row(count, "genremill", mode.kind, SHORT[model.dtype], seconds, rate, failed, count))
    finally:
        pipeline.close()
        forget(mode.device)
    return rows


def _time(pipeline: Pipeline, paths: Sequence[Path]) -> tuple[float, int]:
    """Seconds for all of these files, and how many failed."""
    spent_s = []
    for _ in range(REPEATS if len(paths) <= REPEATED_FILES else 1):
        began = time.perf_counter()
        results = pipeline.analyse(paths)
        spent_s.append(time.perf_counter() - began)
    return statistics.median(spent_s), sum(result is None for result in results)


def measure_naive(name: str, mode: Mode, paths: Sequence[Path], most: int) -> list[Row]:
    """The naive pipeline, one file after the other, with all cores: its rate for any number of files is that of at most
    so many of them."""
    torch.set_num_threads(settings.load().usable_cores)
    model = load_target_model(name, mode)
    _naive_track(model, mode.device, paths[-1])
    tracks = [_naive_track(model, mode.device, path) for path in paths[:most]]
    forget(mode.device)
    rate = len(tracks) / sum(seconds for seconds, _ in tracks)
    failed = sum(failed for _, failed in tracks)
    return [
        Row(count, "naive", mode.kind, SHORT[model.dtype], count / rate, rate, failed, len(tracks))
        for count in counts_up_to(len(paths))
    ]


def _naive_track(model: Model, device: str, path: Path) -> tuple[float, bool]:
    """Seconds for one file, and whether it failed."""
    failed, began = True, time.perf_counter()
    with contextlib.suppress(Exception):  # of librosa's backends each raises its own
        naive.analyse(model, device, path)
        failed = False
    return time.perf_counter() - began, failed


def compare(rows: Iterable[Row]) -> list[Row]:
    """The rows by number of files, with their ratios to the naive pipeline on the same device."""
    rows = sorted(rows, key=lambda row: row.files)
    naive_rates = {(row.files, row.device): row.tracks_per_s for row in rows if row.way == "naive"}
    return [replace(row, times_naive=row.tracks_per_s / naive_rates[row.files, row.device]) for row in rows]
