"""How fast is a run, beside its decode processes alone: python -m benchmarks endtoend FOLDER --model MODEL

FOLDER is what `python -m benchmarks library` made. The whole product analyses the tracks: producer, Redis, workers,
SQLite, Flower. Its limit is the rate of the same decode processes on the same tracks, with windows that nobody uses. It
is measured right before and right after each run, and their mean counts. Printed are both rates of the product, from
the order on and of the workers alone, and what share of the limit they are.
"""

import argparse
import statistics
from contextlib import closing
from pathlib import Path

from benchmarks.decoding.decode_pool import Decoded, DecodeProcesses, windowing_of
from benchmarks.throughput import product
from benchmarks.throughput.product import MeasuredRun, RunFailedError
from benchmarks.tracks import link_tracks, list_files, list_warm_up, read_into_page_cache
from worker.models.checkpoints import Checkpoint
from worker.windowing import Windowing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    parser.add_argument("folder", type=Path, help="what the part `library` made")
    parser.add_argument("--model", required=True)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--amp", help="auto, bf16, fp16 or off (default: the setting's)")
    parser.add_argument("--tracks", type=int, default=2000, help="how many in a run; 0: only what --also says")
    parser.add_argument("--repeat", type=int, default=1, help="how many such runs, all of the same tracks")
    parser.add_argument("--also", type=int, default=0, metavar="TRACKS", help="before these, runs of so many tracks")
    parser.add_argument("--times", type=int, default=9, help="how many of the runs of --also, each of other tracks")


def main(options: argparse.Namespace) -> None:
    """Measure the runs of --also, then those of --tracks, and print."""
    checkpoint = product.find_or_seed_weights(options.model)
    windowing = windowing_of(checkpoint, options.device)
    if options.also:
        parts = [link_tracks(options.folder, options.also, number) for number in range(options.times)]
        print_ratios(compare(options, parts, checkpoint, windowing))
    if options.tracks:
        whole = [link_tracks(options.folder, options.tracks)]
        runs = [compare(options, whole, checkpoint, windowing) for _ in range(options.repeat)]
        print_ratios([pair for pairs in runs for pair in pairs])


def compare(
    options: argparse.Namespace, roots: list[Path], checkpoint: Checkpoint, windowing: Windowing
) -> list[tuple[MeasuredRun, float]]:
    """Runs of the product over the folders in turn, each with its limit in tracks/s.

    Raises RunFailedError when the product and its decode processes do not count the same windows.
    """
    folders, warm_up = [list_files(root) for root in roots], options.folder / "warm-up"
    size = sum(read_into_page_cache(tracks) for tracks in folders)
    print(f"{len(folders)} x {len(folders[0])} tracks, {size / 1e9:.2f} GB, {options.model} on {options.device}")
    pairs = []
    with (
        closing(DecodeProcesses(windowing, list_warm_up(options.folder))) as decoding,
        product.running() as (stack, database),
    ):
        product.warm_up(stack, database, warm_up, checkpoint)
        for root, tracks in zip(roots, folders, strict=True):
            before = decoding.decode(tracks)
            run = product.measure(stack, database, root, checkpoint)
            after = decoding.decode(tracks)
            if not before.windows == run.windows == after.windows:
                raise RunFailedError(f"{before.windows}, {run.windows} and {after.windows} windows are not the same")
            pairs.append((run, (before.tracks_per_s + after.tracks_per_s) / 2))
            print_limits(before, after)
            print_run(run)
    return pairs


def print_limits(before: Decoded, after: Decoded) -> None:
    """Print what the decode processes alone reached before and after a run."""
    print(
        f"decode processes alone            {before.tracks_per_s:8.2f} and {after.tracks_per_s:.2f} tracks/s; "
        f"CPU ms a track: {before.cpu_ms:.2f} and {after.cpu_ms:.2f}"
    )


def print_run(run: MeasuredRun) -> None:
    """Print what a run of the product took."""
    tracks = run.tracks
    print(f"all tracks done, each score stored once; amp {run.amp}, tracks by node {run.tracks_by_node}")
    print(f"from the order to the run's end   {run.wall_s:8.2f} s  {tracks / run.wall_s:8.2f} tracks/s")
    print(
        f"the workers                       {run.worker_s:8.2f} s  {tracks / run.worker_s:8.2f} tracks/s  "
        f"{run.windows / run.worker_s:8.1f} windows/s"
    )
    by_kind = ", ".join(f"{kind} {seconds / tracks * 1e3:.2f}" for kind, seconds in run.cpu_s.items())
    print(f"CPU ms a track: {by_kind}", flush=True)


def print_ratios(pairs: list[tuple[MeasuredRun, float]]) -> None:
    """Print the limits, and what share of them the product reached: the median, and each."""
    print(f"limit {', '.join(f'{limit:.1f}' for _, limit in pairs)} tracks/s (the mean of before and after)")
    for name, seconds in (("from the order", "wall_s"), ("the workers", "worker_s")):
        ratios = [run.tracks / getattr(run, seconds) / limit for run, limit in pairs]
        each = f"   (each: {', '.join(f'{ratio:.3f}' for ratio in ratios)})" if len(ratios) > 1 else ""
        print(f"{name:14} / limit = {statistics.median(ratios):.3f}{each}", flush=True)
