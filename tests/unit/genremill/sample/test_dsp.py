"""The signal processing that voices, mixer and long tracks share."""

import numpy as np
import pytest

from genremill.sample import dsp

RATE = 48_000  # Hz


def test_a_length_for_an_fft_is_enough_and_little_more():
    for n in range(8, 5000):
        assert n <= dsp.fft_length(n) <= 1.25 * n


def gain_db(frequency_hz: float) -> float:
    """What a band from 500 to 2000 Hz makes of a sine wave of this frequency."""
    sine = np.sin(2 * np.pi * frequency_hz * dsp.time_axis(RATE, RATE)).astype(np.float32)
    filtered = dsp.band_pass(sine, 500, 2000, RATE)
    middle = slice(RATE // 4, 3 * RATE // 4)
    return 20 * np.log10(np.abs(filtered[middle]).max() / np.abs(sine[middle]).max())


def test_a_band_pass_keeps_what_is_in_the_band():
    assert gain_db(1000) > -4


@pytest.mark.parametrize(("edge_hz", "outer_hz"), [(8000, 16_000), (125, 62.5)])
def test_a_band_pass_has_slopes_of_12_db_per_octave(edge_hz, outer_hz):
    assert gain_db(edge_hz) - gain_db(outer_hz) == pytest.approx(12, abs=1)


def test_ramps_and_decay_take_the_time_they_are_given():
    t = np.array([0, 1, 2, 3, 4], np.float32)
    assert dsp.ramp_up(t, 2).tolist() == [0, 0.5, 1, 1, 1]
    assert dsp.ramp_down(t, 1, 2).tolist() == [1, 1, 0.5, 0, 0]
    assert dsp.decay(t, 2)[2] == pytest.approx(1 / np.e)
