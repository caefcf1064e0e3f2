"""Many tracks in little time: a few composed ones, each encoded once and then shifted, so that all differ in audio."""

import argparse
import math
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import soundfile

from settings import GenremillError

RATE = 44_100  # Hz
LONG_S, SHORT_S = 240.0, 10.0
BASES = 24  # composed tracks
WARM_UP = 16  # tracks beside those that are measured
MP3_192_KBIT_S = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.4}
MPEG1_KBIT_S = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # of layer III
VARIANTS_A_TASK = 8
CHECKED = 32  # tracks that are decoded whole in the end


class Variant(NamedTuple):
    """A track to be made of a composed one: shifted by this share of its length."""

    path: Path
    share: float


def main(options: argparse.Namespace) -> None:
    """Make the tracks that were asked for."""
    make(options.folder, options.tracks, options.processes, options.short)


def make(folder: Path, tracks: int, processes: int, short: bool = False) -> None:
    """FOLDER/tracks with so many tracks, and FOLDER/warm-up with a few others: half MP3 and half FLAC of LONG_S, or
    `short` WAV of SHORT_S. Raises GenremillError where there are some already."""
    if folder.exists():
        raise GenremillError(f"{folder} exists: give a folder that does not, or delete it")
    for name in ("tracks", "warm-up"):
        (folder / name).mkdir(parents=True)
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(dir=folder) as work,
        ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool,
    ):
        suffixes = (".flac",) if short else (".mp3", ".flac")
        bases = [Path(work, f"{seed}{suffixes[seed % len(suffixes)]}") for seed in range(min(BASES, tracks + WARM_UP))]
        list(pool.map(compose_base, bases, repeat(LONG_S)))
        composed = time.perf_counter()
        planned = plan(folder, bases, tracks, ".wav" if short else "")
        tasks = [
            (base, variants[at : at + VARIANTS_A_TASK])
            for base, variants in planned.items()
            for at in range(0, len(variants), VARIANTS_A_TASK)
        ]
        list(pool.map(write_variants, *zip(*tasks, strict=True)))
        written = time.perf_counter()
        print(f"{len(bases)} tracks composed in {composed - began:.0f} s, {tracks} made in {written - composed:.0f} s")
        report(folder / "tracks", pool)


def plan(folder: Path, bases: list[Path], tracks: int, suffix: str = "") -> dict[Path, list[Variant]]:
    """Which variants to make of which base; suffix: of the files, empty for their base's."""
    each = math.ceil((tracks + WARM_UP) / len(bases))
    planned = defaultdict(list)
    for number in range(tracks + WARM_UP):
        base = bases[number % len(bases)]
        place = folder / ("tracks" if number < tracks else "warm-up")
        name = f"{number:05}{suffix or base.suffix}"
        planned[base].append(Variant(place / name, number // len(bases) / each))
    return planned


def compose_base(path: Path, seconds: float) -> None:
    """Compose the track that the file's name is the seed of."""
    do_without_av()
    from genremill.sample.long_track import compose_long

    flac = path.with_suffix(".flac")
    compose_long(flac, int(path.stem), seconds)
    if path.suffix == ".mp3":
        pcm, rate = soundfile.read(flac, dtype="int16")
        with soundfile.SoundFile(path, "w", rate, pcm.shape[1], **MP3_192_KBIT_S) as file:
            for at in range(0, len(pcm), rate):  # a long MP3 in one call can crash libsndfile
                file.write(pcm[at : at + rate])
        flac.unlink()


def do_without_av() -> None:
    """Where PyAV is not installed, let modules import it all the same: MP3 and FLAC need soundfile alone."""
    try:
        import av  # noqa: F401
    except ImportError:
        sys.modules["av"] = SimpleNamespace(codecs_available=())


def write_variants(base: Path, variants: list[Variant]) -> None:
    """Write variants of one base, all of the same format."""
    write = {".mp3": rotate_frames, ".flac": roll_samples, ".wav": cut_out}[variants[0].path.suffix]
    write(base, variants)


def rotate_frames(base: Path, variants: list[Variant]) -> None:
    """The MP3 with its frames in another order; the first one, which counts them, stays in front."""
    info, *frames = split_frames(base.read_bytes())
    for path, share in variants:
        first = int(share * len(frames))
        path.write_bytes(b"".join([info, *frames[first:], *frames[:first]]))


def split_frames(mp3: bytes) -> list[bytes]:
    """The frames of an MP3 of RATE without tags. Raises ValueError."""
    frames, at = [], 0
    while at < len(mp3):
        if mp3[at] != 0xFF or mp3[at + 1] & 0xFE != 0xFA:
            raise ValueError(f"there is no frame of MPEG-1 layer III at byte {at}")
        size = 144_000 * MPEG1_KBIT_S[mp3[at + 2] >> 4] // RATE + (mp3[at + 2] >> 1 & 1)
        frames.append(mp3[at : at + size])
        at += size
    return frames


def roll_samples(base: Path, variants: list[Variant]) -> None:
    """The FLAC with its samples rolled, encoded anew at libsndfile's default level."""
    pcm, rate = soundfile.read(base, dtype="int16")
    for path, share in variants:
        soundfile.write(path, np.roll(pcm, -int(share * len(pcm)), axis=0), rate)


def cut_out(base: Path, variants: list[Variant]) -> None:
    """SHORT_S seconds of the base as WAV."""
    pcm, rate = soundfile.read(base, dtype="int16")
    length = int(SHORT_S * rate)
    for path, share in variants:
        start = int(share * (len(pcm) - length))
        soundfile.write(path, pcm[start : start + length], rate)


def report(folder: Path, pool: Executor) -> None:
    """Decode some of the files whole, and print how many and how large all are."""
    paths = sorted(folder.iterdir())
    checked = paths[:: len(paths) // CHECKED | 1]  # odd: kinds alternate
    lengths_s = list(pool.map(decoded_s, checked))
    print(f"{len(checked)} decoded whole: {min(lengths_s):.2f} to {max(lengths_s):.2f} s")
    by_suffix = defaultdict(list)
    for path in paths:
        by_suffix[path.suffix].append(path.stat().st_size)
    seconds = dict(zip((path.suffix for path in checked), lengths_s, strict=True))
    for suffix, sizes in by_suffix.items():
        kbit_s = sum(sizes) / len(sizes) * 8 / seconds[suffix] / 1000
        print(f"{suffix[1:]:5} {len(sizes):5} files {sum(sizes) / 1e9:7.2f} GB {kbit_s:5.0f} kbit/s")


def decoded_s(path: Path) -> float:
    """Seconds of audio that come out of a file. Raises soundfile.LibsndfileError."""
    pcm, rate = soundfile.read(path, dtype="int16")
    return len(pcm) / rate
