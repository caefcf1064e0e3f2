"""How decoding grows with the children, on tracks that `python -m benchmarks library FOLDER` composed.

Run it with `python -m benchmarks.decoding.child_scaling FOLDER`.

1, 2, 4, ... children up to the cores, each with as many tracks, so that all runs take about as long; musicnn windows.
Beside the rate: the CPU time of the parent, which hands tracks out and takes windows in.
"""

import argparse
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from benchmarks.decoding.decode_pool import Children
from worker.windowing import Windowing

CUT = Windowing(16_000, 47_872, band_hz=8_000, native=True)  # musicnn's on a GPU
TRACKS_A_CHILD = 60


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    tracks, others = sorted((options.folder / "tracks").iterdir()), sorted((options.folder / "warm-up").iterdir())
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor() as pool:  # into the page cache
        list(pool.map(lambda track: len(track.read_bytes()), tracks[: cores * TRACKS_A_CHILD]))
    print(f"{cores} cores; the best of {options.repeat}", flush=True)
    one = 0.0
    for children in sorted({*(1 << n for n in range(cores.bit_length()) if 1 << n <= cores), cores}):
        some = tracks[: children * TRACKS_A_CHILD]
        assert len(some) == children * TRACKS_A_CHILD, f"{options.folder} has too few tracks"
        rate, parent = max(run(some, others, children) for _ in range(options.repeat))
        one = one or rate
        print(
            f"{children:3} children {rate:8.2f} tracks/s, {rate / one:5.2f} times one; the parent: {parent:.3f} cores",
            flush=True,
        )


def run(tracks: list[Path], others: list[Path], children: int) -> tuple[float, float]:
    """Tracks a second, and how many cores the parent used meanwhile."""
    with closing(Children(CUT, others, children)) as decoding:
        began, used = time.perf_counter(), time.process_time()
        rate = decoding.decode(tracks).tracks_per_s
        parent = (time.process_time() - used) / (time.perf_counter() - began)
    return rate, parent


if __name__ == "__main__":
    main()
