"""The product against its own limit, decode children alone: each run has theirs right before and right after it."""

import argparse
import os
import statistics
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from pathlib import Path

from benchmarks.decoding.decode_pool import Children, windowing_of
from benchmarks.throughput import product
from benchmarks.throughput.product import Measured
from worker.models.checkpoints import Checkpoint
from worker.windowing import Windowing


def main(options: argparse.Namespace) -> None:
    """Measure small parts of the tracks, each in a run of its own, then all of them in one run or more; print."""
    checkpoint = product.with_weights(options.model)
    tracks = files(options.folder / "tracks")
    assert len(tracks) >= options.tracks, f"{options.folder} has {len(tracks)} tracks"
    windowing = windowing_of(checkpoint, options.device)
    if options.also:
        small = [first(options.folder, options.also, number) for number in range(options.times)]
        say_ratios(compare(options, small, checkpoint, windowing))
    if options.tracks:
        whole = [first(options.folder, options.tracks)]
        say_ratios([pair for _ in range(options.repeat) for pair in compare(options, whole, checkpoint, windowing)])


def compare(
    options: argparse.Namespace, roots: list[Path], checkpoint: Checkpoint, windowing: Windowing
) -> list[tuple[Measured, float]]:
    """The product on each folder, one after the other, and its limit: the decode children on the same ones."""
    parts, others = [files(root) for root in roots], options.folder / "warm-up"
    with ThreadPoolExecutor() as pool:  # into the page cache
        size = sum(pool.map(lambda track: len(track.read_bytes()), chain.from_iterable(parts)))
    print(
        f"{len(parts)} x {len(parts[0])} tracks, {size / 1e9:.2f} GB, {options.model} on {options.device}", flush=True
    )
    pairs = []
    with closing(Children(windowing, files(others))) as decoding, product.running() as (stack, database):
        product.warm_up(stack, database, others, checkpoint)
        for root, tracks in zip(roots, parts, strict=True):
            before = decoding.decode(tracks)
            measured = product.measure(stack, database, root, checkpoint)
            after = decoding.decode(tracks)
            windows = (before.windows, measured.windows, after.windows)
            assert len(set(windows)) == 1, windows
            pairs.append((measured, (before.tracks_per_s + after.tracks_per_s) / 2))
            print(
                f"decode children alone             {before.tracks_per_s:8.2f} and {after.tracks_per_s:.2f} tracks/s; "
                f"CPU ms a track: {before.cpu_ms:.2f} and {after.cpu_ms:.2f}"
            )
            say(measured)
    return pairs


def first(folder: Path, count: int, number: int = 0) -> Path:
    """A folder with so many of the tracks, and none of those that another number has: links, where there are more."""
    tracks = files(folder / "tracks")
    assert count * (number + 1) <= len(tracks), f"{folder} has {len(tracks)} tracks"
    if count == len(tracks):
        return folder / "tracks"
    some = folder / f"{count}-{number}"
    if not some.exists():
        some.mkdir()
        for track in tracks[count * number : count * (number + 1)]:
            os.link(track, some / track.name)
    return some


def files(folder: Path) -> list[Path]:
    """What is in the folder."""
    return sorted(folder.iterdir())


def say(measured: Measured) -> None:
    """What was measured of the product."""
    tracks = measured.tracks
    print(f"all done, counts balanced, every score there once; amp {measured.amp}, tracks by node {measured.by_node}")
    print(f"from the order to the run's end   {measured.wall_s:8.2f} s  {tracks / measured.wall_s:8.2f} tracks/s")
    print(
        f"the workers                       {measured.worker_s:8.2f} s  {tracks / measured.worker_s:8.2f} tracks/s  "
        f"{measured.windows / measured.worker_s:8.1f} windows/s"
    )
    each = ", ".join(f"{kind} {seconds / tracks * 1e3:.2f}" for kind, seconds in measured.spent.items())
    print(f"CPU ms a track: {each}", flush=True)


def say_ratios(pairs: list[tuple[Measured, float]]) -> None:
    """Both rates of the product by the limit: of each run, and their median."""
    print(f"limit {', '.join(f'{limit:.1f}' for _, limit in pairs)} tracks/s (the mean of before and after)")
    for name, took in (("from the order", "wall_s"), ("the workers", "worker_s")):
        ratios = [measured.tracks / getattr(measured, took) / limit for measured, limit in pairs]
        each = f"   (each: {', '.join(f'{ratio:.3f}' for ratio in ratios)})" if len(ratios) > 1 else ""
        print(f"{name:14} / limit = {statistics.median(ratios):.3f}{each}", flush=True)
