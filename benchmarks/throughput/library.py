"""Make a folder of tracks that all differ in audio, in little time: python -m benchmarks library FOLDER [--tracks N]

FOLDER gets `tracks` with the tracks to measure (half MP3, half FLAC, 4 minutes each) and `warm-up` with a few others.

A few base tracks are composed and encoded. Every other track is a variant of one of them that starts at another place:
an MP3 whose frames are rotated, a FLAC whose samples are rotated, or with --short a WAV that is cut out of the base.
At the end the tracks are checked. The benchmark fails where they are not what the other parts rely on.
"""

import argparse
import math
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import soundfile

from benchmarks.throughput import library_check
from benchmarks.throughput.variants import SHORT_S, Variant, write_variants
from genremill.sample.codecs import CODECS
from genremill.sample.encode import encode_pcm
from genremill.sample.long_track import write_long_track
from settings import GenremillError

LONG_S = 240.0  # Seconds of a base, and of a usual track.
BASES = 24  # Composed tracks that all others are variants of.
WARM_UP_TRACKS = 16
VARIANTS_PER_TASK = 8  # How many variants a process makes of a base that it has read once.
MP3_ENCODER = CODECS["mp3 192"].encoder  # At a constant bit rate, and without tags.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    parser.add_argument("folder", type=Path, help="the folder to make, which must not exist")
    parser.add_argument("--tracks", type=int, default=2000, help="how many (default: 2000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="how many make them (default: all cores)")
    parser.add_argument("--short", action="store_true", help="WAV of 10 s instead of MP3 and FLAC of 4 minutes")


def main(options: argparse.Namespace) -> None:
    """Make and check the tracks. Raises GenremillError where the folder exists, or a track is not as it should be."""
    folder, suffixes = options.folder, (".flac",) if options.short else (".mp3", ".flac")
    if folder.exists():
        raise GenremillError(f"{folder} exists: name a folder that does not, or delete it")
    for name in ("tracks", "warm-up"):
        (folder / name).mkdir(parents=True)
    seconds = SHORT_S if options.short else LONG_S
    with (
        tempfile.TemporaryDirectory(dir=folder) as work,
        ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool,
    ):
        count = min(BASES, options.tracks + WARM_UP_TRACKS)
        bases = [Path(work, f"{seed}{suffixes[seed % len(suffixes)]}") for seed in range(count)]
        began = time.perf_counter()
        list(pool.map(compose_base, bases, repeat(LONG_S)))
        composed = time.perf_counter()
        planned = plan_variants(folder, bases, options.tracks, ".wav" if options.short else "")
        list(pool.map(write_variants, *zip(*split_into_tasks(planned), strict=True)))
        written = time.perf_counter()
        print(f"{count} bases composed in {composed - began:.0f} s, all tracks made in {written - composed:.0f} s")
        library_check.check_variants(planned, pool)
        library_check.check_tracks([path for variants in planned.values() for path, _ in variants], seconds, pool)
    library_check.report(folder / "tracks", seconds)


def plan_variants(folder: Path, bases: list[Path], tracks: int, suffix: str = "") -> dict[Path, list[Variant]]:
    """Which variants to make of which base. `suffix` is the files' ending, where it is not their base's."""
    per_base = math.ceil((tracks + WARM_UP_TRACKS) / len(bases))
    planned = defaultdict(list)
    for number in range(tracks + WARM_UP_TRACKS):
        base = bases[number % len(bases)]
        parent = folder / ("tracks" if number < tracks else "warm-up")
        path = parent / f"{number:05}{suffix or base.suffix}"
        planned[base].append(Variant(path, number // len(bases) / per_base))
    return planned


def split_into_tasks(planned: dict[Path, list[Variant]]) -> Iterator[tuple[Path, list[Variant]]]:
    """Bases with a few of their variants each, so that several processes share the work of one base."""
    for base, variants in planned.items():
        for start in range(0, len(variants), VARIANTS_PER_TASK):
            yield base, variants[start : start + VARIANTS_PER_TASK]


def compose_base(path: Path, seconds: float) -> None:
    """Compose a track, as MP3 of 192 kbit/s or FLAC by the path's ending; the file's name is the seed."""
    flac = path.with_suffix(".flac")
    write_long_track(flac, int(path.stem), seconds)
    if path.suffix == ".mp3":
        encode_pcm(path, *soundfile.read(flac, dtype="int16"), MP3_ENCODER)
        flac.unlink()
