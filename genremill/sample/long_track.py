"""Long tracks, for benchmarks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genremill.sample.encode import encode_blocks, whole_file, write_tags
from genremill.sample.styles import STYLES, compose_track
from genremill.sample.synth import PEAK, band_pass


def compose_long(path: Path, seed: int, seconds: float = 240.0) -> None:
    """Write a stereo track of 44.1 kHz for benchmarks, another one for every seed.

    It is 30 s of a style, read in sections from changing places at changing speed, brightness and loudness.
    """
    rng, rate = np.random.default_rng((seed, 240)), 44_100
    style = list(STYLES)[seed % len(STYLES)]
    loop = compose_track(style, min(30.0, seconds), seed, rate)
    tags = {"title": f"Study {seed}", "artist": "genremill", "album": "Long", "genre": STYLES[style].genre}
    with whole_file(path) as unfinished:
        encode_blocks(unfinished, _sections(loop, round(seconds * rate), rng, rate), rate, 2, path.suffix, {})
        write_tags(unfinished, tags, path.suffix)


def _sections(loop: np.ndarray, n: int, rng: np.random.Generator, rate: int) -> Iterator[np.ndarray]:
    """n samples of variations on a loop (m, 2), faded into one another, in blocks of at most a second."""
    fade, done, tail = rate // 4, 0, None
    ramp = np.linspace(0, 1, fade, dtype=np.float32)[:, None]
    while done < n:
        length = int(rng.uniform(6, 12) * rate)
        where = (rng.integers(len(loop)) + np.arange(length + fade) * rng.uniform(0.95, 1.05)) % (len(loop) - 1)
        low_hz, high_hz, gain = rng.uniform(5, 120), rng.uniform(5_000, 20_000), rng.uniform(0.6, 1.0)
        sides = (np.interp(where, np.arange(len(loop)), side).astype(np.float32) for side in loop.T)
        section = np.stack([band_pass(side, low_hz, high_hz, rate) for side in sides], axis=1)
        section = np.clip(gain * section, -PEAK, PEAK)
        if tail is not None:
            section[:fade] = ramp * section[:fade] + (1 - ramp) * tail
        tail, section = section[length:], section[: min(length, n - done)]
        for at in range(0, len(section), rate):
            yield section[at : at + rate]
        done += len(section)
