"""Waveforms that are hard in different ways, at the rate of the published networks."""

import numpy as np
import numpy.typing as npt
import soxr

from tests.support.paths import DATA

RATE = 22_050  # Hz
SAMPLES = 252_000  # 11.4 s
MUSIC = DATA / "musicnn_reference.npz"

Waveform = npt.NDArray[np.float32]


def make_signals() -> dict[str, npt.NDArray[np.float64]]:
    """Waveforms of SAMPLES samples, from formulas."""
    time, random = np.arange(SAMPLES) / RATE, np.random.default_rng(1)
    noise = random.normal(0, 0.2, SAMPLES)
    chord = sum(np.sin(2 * np.pi * hz * time) for hz in (41.2, 110, 277.18, 1318.5, 3951)) / 6
    return {
        "noise": noise,
        "chord": chord,
        "sweep": np.sin(2 * np.pi * 20 * np.expm1(time / time[-1] * 6) / 6 * time[-1]) * 0.8,
        "clicks": np.where(np.arange(SAMPLES) % 9001 == 0, 0.9, 0.0),
        "fading": (chord + noise * 0.1) * np.exp(-time),
        "clipped": np.clip(chord * 9, -1, 1),
        "quiet": np.rint((chord + noise) * 40) / 32_768,
    }


def read_music() -> dict[str, Waveform]:
    """Clips of music, of three seconds each."""
    with np.load(MUSIC) as file:
        clips = {name: file[name] / np.float32(32_768) for name in file if name.startswith("audio_")}
    return {name: soxr.resample(clip, 16_000, RATE, "HQ") for name, clip in clips.items()}


WAVEFORMS: dict[str, Waveform] = {
    name: waveform.astype(np.float32) for name, waveform in {**make_signals(), **read_music()}.items()
}
