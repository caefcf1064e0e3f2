"""The product against its own limit, the decode children alone: before it, and after it."""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import decoding, product
from benchmarks.product import Measured
from worker.checkpoints import Checkpoint
from worker.cut import Cut


def main(options: argparse.Namespace) -> None:
    """Measure, for each number of tracks, and print."""
    checkpoint = product.with_weights(options.model)
    cut = decoding.cut_of(checkpoint)
    for count in (*options.also, options.tracks):
        root = first(options.folder, count)
        tracks, others = files(root), files(options.folder / "warm-up")
        with ThreadPoolExecutor() as pool:  # into the page cache
            size = sum(pool.map(lambda track: len(track.read_bytes()), tracks))
        print(f"{count} tracks, {size / 1e9:.2f} GB, {options.model} on {options.device}", flush=True)
        before = None if options.no_limit else decoded(cut, tracks, others)
        measured = run(root, options.folder / "warm-up", checkpoint)
        say(measured)
        if before:
            after = decoded(cut, tracks, others)
            assert before[1] == after[1] == measured.windows, (before, after, measured)
            say_ratios(measured, (before[0] + after[0]) / 2)


def first(folder: Path, count: int) -> Path:
    """A folder with so many of the tracks: links, where there are more."""
    tracks = files(folder / "tracks")
    assert count <= len(tracks), f"{folder} has {len(tracks)} tracks"
    if count == len(tracks):
        return folder / "tracks"
    some = folder / f"first-{count}"
    if not some.exists():
        some.mkdir()
        for track in tracks[:count]:
            os.link(track, some / track.name)
    return some


def files(folder: Path) -> list[Path]:
    """What is in the folder."""
    return sorted(folder.iterdir())


def decoded(cut: Cut, tracks: list[Path], others: list[Path]) -> tuple[float, int]:
    """Tracks a second of the decode children alone, and the windows."""
    per_s, windows = decoding.decode_alone(tracks, others, cut)
    print(f"decode children alone: {per_s:.2f} tracks/s, {windows} windows", flush=True)
    return per_s, windows


def run(root: Path, others: Path, checkpoint: Checkpoint) -> Measured:
    """The product, on an empty database, its worker up."""
    with product.running() as (stack, database):
        product.warm_up(stack, database, others, checkpoint)
        return product.measure(stack, database, root, checkpoint)


def say(measured: Measured) -> None:
    """What was measured of the product."""
    tracks, spent = measured.tracks, measured.spent
    print(f"all done, counts balanced, every score there once; amp {measured.amp}, tracks by node {measured.by_node}")
    print(f"from the order to the last score  {measured.wall_s:8.2f} s  {tracks / measured.wall_s:8.2f} tracks/s")
    print(
        f"the workers                       {measured.worker_s:8.2f} s  {tracks / measured.worker_s:8.2f} tracks/s  "
        f"{measured.windows / measured.worker_s:8.1f} windows/s"
    )
    print(
        f"CPU ms a track: workers' own processes {spent.parent / tracks * 1e3:.2f}, "
        f"decode children {spent.children / tracks * 1e3:.2f}",
        flush=True,
    )


def say_ratios(measured: Measured, limit: float) -> None:
    """Both rates of the product by the limit."""
    print(f"limit {limit:.2f} tracks/s (the mean of before and after)")
    print(f"from the order / limit = {measured.tracks / measured.wall_s / limit:.3f}")
    print(f"the workers / limit    = {measured.tracks / measured.worker_s / limit:.3f}", flush=True)
