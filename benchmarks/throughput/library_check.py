"""Checks of the tracks that `python -m benchmarks library` makes: whole, audible, all different, cut as planned.

Equal tracks would be analysed once and short ones sooner, so that every rate measured with them would be too high.
"""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.throughput.variants import MP3_FRAME_SAMPLES, SAMPLE_RATE, Variant, first_sample
from benchmarks.tracks import list_files
from producer.audio_hash import audio_hash
from settings import GenremillError

CHECKED_TRACKS = 32  # How many tracks are decoded whole.
COMPARED_S = 3.0  # Seconds of a variant that are compared with its base.
LENGTH_TOLERANCE = 2 * MP3_FRAME_SAMPLES  # Samples that a track may be longer or shorter than it should be.
SAMPLE_TOLERANCE = 2  # Difference between samples of 16 bits that decoding an MP3 from another frame on may make.
AUDIBLE_SHARE = 0.9  # Share of samples that must not be zero.


def check_tracks(paths: Sequence[Path], seconds: float, pool: Executor) -> None:
    """Decode some of the tracks whole, and hash the audio of all. Raises GenremillError for the first that is wrong."""
    checked = paths[:: len(paths) // CHECKED_TRACKS | 1]  # an odd step, since the formats alternate
    for problem in pool.map(find_problem, checked, [seconds] * len(checked)):
        if problem:
            raise GenremillError(problem)
    by_hash: dict[int, Path] = {}
    for path, digest in zip(paths, pool.map(audio_hash, map(bytes, paths), chunksize=16), strict=True):
        if digest in by_hash:
            raise GenremillError(f"{path} and {by_hash[digest]} have the same audio: they would be analysed once")
        by_hash[digest] = path
    print(f"{len(checked)} tracks decoded whole: {seconds:g} s each; {len(paths)} tracks hashed: all differ")


def find_problem(path: Path, seconds: float) -> str:
    """What is wrong with a track that should last so many seconds; empty where nothing is."""
    pcm, rate = soundfile.read(path, dtype="int16", always_2d=True)
    if (rate, pcm.shape[1]) != (SAMPLE_RATE, 2):
        return f"{path} has {pcm.shape[1]} channels at {rate} Hz instead of 2 at {SAMPLE_RATE}"
    if abs(len(pcm) - seconds * rate) > LENGTH_TOLERANCE:
        return f"{path} lasts {len(pcm) / rate:.2f} s instead of {seconds:g}"
    audible = pcm.any(axis=1).mean()
    if audible < AUDIBLE_SHARE:
        return f"{path} is silent for {1 - audible:.0%} of its length"
    return ""


def check_variants(planned: dict[Path, list[Variant]], pool: Executor) -> None:
    """Compare a variant of each base with the base. Raises GenremillError for the first that is something else."""
    chosen = [variants[:2][-1] for variants in planned.values()]  # the second one is shifted by half at the most
    for problem in pool.map(find_variant_problem, planned, chosen):
        if problem:
            raise GenremillError(problem)


def find_variant_problem(base: Path, variant: Variant) -> str:
    """What is wrong with a variant that is shifted by half its base at the most; empty where nothing is."""
    expected, rate = soundfile.read(base, dtype="int16")
    found, _ = soundfile.read(variant.path, dtype="int16")
    expected = expected[first_sample(base, variant) :]
    middle = min(len(found), len(expected)) // 2  # far from both ends of the base, where an MP3 decoder starts anew
    compared = slice(middle, middle + int(COMPARED_S * rate))
    difference = np.abs(found[compared].astype(int) - expected[compared]).max()
    if difference > SAMPLE_TOLERANCE:
        return f"{variant.path} is not {base.name} from {variant.share:.1%} on: samples differ by up to {difference}"
    return ""


def report(folder: Path, seconds: float) -> None:
    """Print how many files of each format there are, their size and their bit rate."""
    sizes = defaultdict(list)
    for path in list_files(folder):
        sizes[path.suffix[1:]].append(path.stat().st_size)
    for suffix, each in sizes.items():
        kbit_s = sum(each) / len(each) * 8 / seconds / 1000
        print(f"{suffix:5} {len(each):5} files {sum(each) / 1e9:7.2f} GB {kbit_s:5.0f} kbit/s")
