"""Long tracks, for benchmarks and tests."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genremill.sample.compose import compose_track
from genremill.sample.dsp import PEAK, Signal, band_pass
from genremill.sample.encode import Pcm, split_seconds, write_blocks
from genremill.sample.styles import STYLES

SAMPLE_RATE = 44_100  # Of every long track, in Hz.
LOOP_S = 30.0  # Length of the music that a long track is made of.
SECTION_S = (6, 12)  # Each section has a random length in this range, in seconds.
CROSSFADE = SAMPLE_RATE // 4  # Samples in which one section is faded into the next.


def write_long_track(path: Path, seed: int, seconds: float = 240.0) -> None:
    """Write a stereo track of 44.1 kHz, another one for every seed. The path's suffix decides on the codec.

    A short piece of music is played again and again, in sections which differ in where in the piece they start, in
    speed, brightness and loudness.
    """
    rng = np.random.default_rng((seed, 240))
    style = list(STYLES)[seed % len(STYLES)]
    loop = compose_track(style, min(LOOP_S, seconds), seed, SAMPLE_RATE)
    tags = {"title": f"Study {seed}", "artist": "genremill", "album": "Long", "genre": STYLES[style].genre}
    blocks = _blocks(loop, round(seconds * SAMPLE_RATE), rng)
    write_blocks(path, blocks, SAMPLE_RATE, 2, tags)


def _blocks(loop: Signal, n: int, rng: np.random.Generator) -> Iterator[Pcm]:
    """n samples of varied sections of a loop (m, 2), each faded into the next, in blocks (k, 2) of at most a second."""
    ramp = np.linspace(0, 1, CROSSFADE, dtype=np.float32)[:, None]
    tail, written = None, 0
    while written < n:
        length = int(rng.uniform(*SECTION_S) * SAMPLE_RATE)
        section = _vary(loop, length + CROSSFADE, rng)
        if tail is not None:
            section[:CROSSFADE] = ramp * section[:CROSSFADE] + (1 - ramp) * tail
        section, tail = section[: min(length, n - written)], section[length:]
        yield from split_seconds(section, SAMPLE_RATE)
        written += len(section)


def _vary(loop: Signal, n: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """n samples of a loop (m, 2), from a random place on, at random speed, brightness and loudness: (n, 2)."""
    positions = (rng.integers(len(loop)) + np.arange(n) * rng.uniform(0.95, 1.05)) % (len(loop) - 1)
    low_hz, high_hz, gain = rng.uniform(5, 120), rng.uniform(5_000, 20_000), rng.uniform(0.6, 1.0)
    sides = (np.interp(positions, np.arange(len(loop)), side).astype(np.float32) for side in loop.T)
    section = np.stack([band_pass(side, low_hz, high_hz, SAMPLE_RATE) for side in sides], axis=1)
    clipped: npt.NDArray[np.float32] = np.clip(gain * section, -PEAK, PEAK)
    return clipped
