"""Whole files to probabilities: the worker's own pipeline, and the naive pipeline next to it."""

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
from genremill.bench.memory import reset_peak
from genremill.bench.pipeline import Pipeline
from genremill.bench.target import PRECISION_LABELS, Target, load_target_model
from worker.models.checkpoints import Model

FILE_COUNTS = (1, 10, 100)  # Numbers of files that are measured, as far as there are so many.
REPEATS = 3  # Measurements of up to REPEATED_FILES files, of which the median counts.
REPEATED_FILES = 10  # More files than these are measured once.
WARM_UP_FILES = 8  # Files that are analysed before the time is taken.


@dataclass(frozen=True)
class FilesRow:
    """A number of files, analysed in one way."""

    files: int
    way: str  # genremill or naive
    device: str  # GPU or CPU
    precision: str
    seconds: float
    tracks_per_s: float
    failed: int  # Files that failed.
    measured: int  # Files whose rate this is.
    times_naive: float = 1.0  # The rate, divided by that of the naive pipeline on the same device.


def counts_up_to(files: int) -> list[int]:
    """The numbers of files that are measured where there are so many: FILE_COUNTS, and all of them."""
    return sorted({count for count in FILE_COUNTS if count < files} | {files})


def measure_pipeline(name: str, target: Target, paths: Sequence[Path]) -> list[FilesRow]:
    """Measure the worker's pipeline on the first 1, 10, 100... files. Its processes and its model are up by then."""
    model = load_target_model(name, target)
    pipeline = Pipeline(model, target.device)
    rows = []
    try:
        pipeline.analyse(list(islice(cycle(paths), WARM_UP_FILES)))
        for count in counts_up_to(len(paths)):
            seconds, failed = _time_pipeline(pipeline, paths[:count])
            precision = PRECISION_LABELS[model.dtype]
            rows.append(
                FilesRow(count, "genremill", target.device_kind, precision, seconds, count / seconds, failed, count)
            )
    finally:
        pipeline.close()
        reset_peak(target.device)
    return rows


def _time_pipeline(pipeline: Pipeline, paths: Sequence[Path]) -> tuple[float, int]:
    """The median of the seconds for all of these files, and how many of them failed."""
    times_s = []
    for _ in range(REPEATS if len(paths) <= REPEATED_FILES else 1):
        start = time.perf_counter()
        results = pipeline.analyse(paths)
        times_s.append(time.perf_counter() - start)
    return statistics.median(times_s), sum(result is None for result in results)


def measure_naive(name: str, target: Target, paths: Sequence[Path], max_files: int) -> list[FilesRow]:
    """Measure the naive pipeline, one file after the other, with all cores.

    At most max_files files are measured. Their rate stands for any number of files, because no file shares anything
    with another one.
    """
    torch.set_num_threads(settings.load().usable_cores)
    model = load_target_model(name, target)
    _time_naive(model, target.device, paths[-1])  # So that librosa, matplotlib and torch are warm.
    results = [_time_naive(model, target.device, path) for path in paths[:max_files]]
    reset_peak(target.device)
    tracks_per_s = len(results) / sum(seconds for seconds, _ in results)
    failed = sum(failed for _, failed in results)
    precision = PRECISION_LABELS[model.dtype]
    return [
        FilesRow(
            count, "naive", target.device_kind, precision, count / tracks_per_s, tracks_per_s, failed, len(results)
        )
        for count in counts_up_to(len(paths))
    ]


def _time_naive(model: Model, device: str, path: Path) -> tuple[float, bool]:
    """The seconds for one file, and whether it failed."""
    failed = True
    start = time.perf_counter()
    with contextlib.suppress(Exception):  # Each of librosa's backends raises errors of its own.
        naive.analyse(model, device, path)
        failed = False
    return time.perf_counter() - start, failed


def compare(rows: Iterable[FilesRow]) -> list[FilesRow]:
    """The rows by number of files, with their ratios to the naive pipeline on the same device."""
    ordered = sorted(rows, key=lambda row: row.files)
    naive_rates = {(row.files, row.device): row.tracks_per_s for row in ordered if row.way == "naive"}
    return [replace(row, times_naive=row.tracks_per_s / naive_rates[row.files, row.device]) for row in ordered]
