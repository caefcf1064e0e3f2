"""Composed tracks: repeatable, within their peak, and different from style to style."""

from itertools import combinations

import numpy as np
import pytest

from genremill.sample.compose import compose_track
from genremill.sample.dsp import PEAK
from genremill.sample.styles import STYLES


@pytest.fixture(scope="module")
def tracks() -> dict[str, np.ndarray]:
    """Four seconds of every style, mono."""
    return {style: compose_track(style, 4, seed=1, sample_rate=22_050).mean(1) for style in STYLES}


def test_an_unknown_style_names_the_valid_ones():
    with pytest.raises(ValueError, match="techno"):
        compose_track("polka", 1, 0)


def test_composing_is_repeatable_and_seeded():
    first, again, other = (compose_track("jazz", 3, seed, 22_050) for seed in (1, 1, 2))
    assert first.dtype == np.float32
    assert first.shape == (3 * 22_050, 2)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=0.01)


def test_no_sample_is_above_the_peak(tracks):
    assert all(0.05 < np.abs(pcm).max() <= PEAK for pcm in tracks.values())


def test_styles_are_distinct(tracks):
    """Of two styles, the spectrum or its movement differs: level and spread of 23 bands in dB."""

    def describe(pcm: np.ndarray) -> np.ndarray:
        power = np.abs(np.fft.rfft(pcm[: len(pcm) // 1024 * 1024].reshape(-1, 1024) * np.hanning(1024))) ** 2
        edges = np.unique(np.geomspace(2, 512, 24).astype(int))
        bands = 10 * np.log10(np.add.reduceat(power, edges, axis=1) + 1e-6)
        return np.concatenate((bands.mean(0), bands.std(0)))

    descriptions = {style: describe(pcm) for style, pcm in tracks.items()}
    distance = {
        (one, other): np.abs(descriptions[one] - descriptions[other]).mean() for one, other in combinations(tracks, 2)
    }
    nearest = min(distance, key=distance.get)
    assert distance[nearest] > 1.0, f"{nearest} differ by {distance[nearest]:.2f} dB"
    assert len(tracks) >= 24
