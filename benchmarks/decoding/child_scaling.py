"""How does decoding grow with the number of decode processes: python -m benchmarks child-scaling FOLDER

FOLDER is what `python -m benchmarks library` made. 1, 2, 4, ... processes up to the number of cores decode what the
model musicnn reads on a GPU, each as many tracks, so that all runs take about as long. Beside the rate stands the CPU
time of the parent process, which hands tracks out and takes windows in.
"""

import argparse
import os
import time
from contextlib import closing
from pathlib import Path

from benchmarks.decoding.decode_pool import DecodeProcesses, windowing_of
from benchmarks.tracks import list_tracks, list_warm_up, read_into_page_cache
from settings import GenremillError
from worker.models.checkpoints import find_checkpoint
from worker.windowing import Windowing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    parser.add_argument("folder", type=Path, help="what the part `library` made")
    parser.add_argument("--repeat", type=int, default=3, help="runs, whose best counts (default: 3)")
    parser.add_argument("--tracks", type=int, default=60, help="how many for each process (default: 60)")


def main(options: argparse.Namespace) -> None:
    """Measure and print. Raises GenremillError where the folder has too few tracks."""
    tracks, warm_up = list_tracks(options.folder), list_warm_up(options.folder)
    cores = len(os.sched_getaffinity(0))
    if len(tracks) < cores * options.tracks:
        raise GenremillError(f"{options.folder} has {len(tracks)} tracks; {cores * options.tracks} are needed")
    windowing = windowing_of(find_checkpoint("musicnn"), "cuda:0")
    read_into_page_cache(tracks[: cores * options.tracks])
    print(f"{cores} cores; the best of {options.repeat}", flush=True)
    rate_of_one = 0.0
    for count in process_counts(cores):
        runs = [measure(windowing, tracks[: count * options.tracks], warm_up, count) for _ in range(options.repeat)]
        rate, parent_cores = max(runs)
        rate_of_one = rate_of_one or rate
        print(
            f"{count:3} decode processes {rate:8.2f} tracks/s, {rate / rate_of_one:5.2f} times one; "
            f"the parent: {parent_cores:.3f} cores",
            flush=True,
        )


def process_counts(cores: int) -> list[int]:
    """1, 2, 4, ... and the number of cores."""
    return sorted({*(1 << power for power in range(cores.bit_length())), cores})


def measure(windowing: Windowing, tracks: list[Path], warm_up: list[Path], count: int) -> tuple[float, float]:
    """Tracks a second, and how many cores the parent process used meanwhile."""
    with closing(DecodeProcesses(windowing, warm_up, count)) as decoding:
        began, cpu_before_s = time.perf_counter(), time.process_time()
        rate = decoding.decode(tracks).tracks_per_s
        parent_cores = (time.process_time() - cpu_before_s) / (time.perf_counter() - began)
    return rate, parent_cores
