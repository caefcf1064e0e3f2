"""The mixer: each effect does what its setting says."""

import numpy as np
import pytest

from genremill.sample import mixer
from genremill.sample.dsp import PEAK
from genremill.sample.styles import Part

RATE = 10_000  # Hz
BEAT_S = 0.5


def part(**settings) -> Part:
    return Part("piano", settings.pop("gain", 1.0), ("0",), **settings)


def impulse(n: int = 2 * RATE) -> np.ndarray:
    signal = np.zeros(n, np.float32)
    signal[0] = 1
    return signal


def test_without_settings_only_the_gain_acts():
    signal = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    assert np.array_equal(mixer.apply_effects(signal, part(gain=0.5), BEAT_S, RATE), 0.5 * signal)


def test_an_echo_comes_five_times_and_gets_weaker():
    out = mixer.apply_effects(impulse(), part(echo=0.5), BEAT_S, RATE)
    repeats = np.flatnonzero(out)
    assert repeats.tolist() == [3750 * number for number in range(6)]
    assert out[repeats] == pytest.approx([0.5**number for number in range(6)])


def test_an_echo_ends_with_the_track():
    assert np.flatnonzero(mixer.apply_effects(impulse(5000), part(echo=0.5), BEAT_S, RATE)).tolist() == [0, 3750]


def test_ducking_takes_a_part_away_on_every_beat():
    out = mixer.apply_effects(np.ones(RATE, np.float32), part(ducking=0.8), BEAT_S, RATE)
    assert out[[0, 5000]] == pytest.approx([0.2, 0.2], abs=0.01)
    assert out[[4900, 9900]].min() > 0.95


def test_distortion_adds_partials():
    sine = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(mixer.apply_effects(sine, part(drive=10), BEAT_S, RATE)))
    assert spectrum[600] > 0.2 * spectrum[200]


@pytest.mark.parametrize(("pan", "gains"), [(0, (1, 1)), (-1, (1, 0)), (1, (0, 1)), (0.25, (0.75, 1))])
def test_a_part_is_placed_between_left_and_right(pan, gains):
    left, right = mixer.place_in_stereo(np.ones(10, np.float32), part(pan=pan), RATE)
    assert (left[0], right[0]) == pytest.approx(gains)


def test_the_right_channel_of_a_wide_part_is_11_ms_late():
    left, right = mixer.place_in_stereo(impulse(), part(wide=True), RATE)
    assert np.flatnonzero(left).tolist() == [0]
    assert np.flatnonzero(right).tolist() == [111]


def test_a_reverb_dies_away_in_its_time_and_differs_between_left_and_right():
    left, right = mixer.reverberate(impulse(), 1.0, np.random.default_rng(0), RATE)
    assert np.abs(left[:1000]).mean() > 10 * np.abs(left[8000:9000]).mean()
    assert np.abs(left[RATE + 10 :]).max() < 1e-3 * np.abs(left).max()
    assert abs(np.corrcoef(left[:RATE], right[:RATE])[0, 1]) < 0.1


def test_the_master_sets_loudness_limits_peaks_and_fades():
    mix = np.random.default_rng(0).standard_normal((2, RATE)).astype(np.float32)
    quiet, loud = (mixer.master(mix.copy(), loudness, RATE) for loudness in (0.05, 5.0))
    assert quiet.shape == (RATE, 2)
    assert np.sqrt(np.mean(quiet**2)) == pytest.approx(0.05, rel=0.05)
    assert 0.8 < np.abs(loud).max() <= PEAK
    assert np.abs(loud[[0, -1]]).max() == 0
