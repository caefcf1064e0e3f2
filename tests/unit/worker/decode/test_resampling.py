"""Parts of a file at another rate are what the whole file at that rate has there."""

import numpy as np
import pytest
import soxr

from worker.decode.resampling import period, resample
from worker.windowing import GRID_SAMPLES


class Noise:
    """A reader of noise, in blocks of 1,000 frames. It keeps what it was asked for."""

    def __init__(self, rate, frames=50_000):
        self.rate, self.samples = rate, np.random.default_rng(0).normal(0, 0.1, frames).astype(np.float32)
        self.asked = []

    def blocks(self, start, stop):
        self.asked.append((start, stop))
        wanted = self.samples[start:stop]
        return (wanted[begin : begin + 1_000] for begin in range(0, len(wanted), 1_000))


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ((44_100, 16_000), (441, 160)),
        ((48_000, 16_000), (3, 1)),
        ((16_000, 16_000), (1, 1)),
        ((8_000, 16_000), (1, 2)),
        ((11_025, 16_000), (441, 640)),
        ((44_101, 16_000), (44_101, 16_000)),
    ],
)
def test_a_period_is_the_shortest_time_in_which_both_rates_have_whole_samples(rates, expected):
    assert period(*rates) == expected


@pytest.mark.parametrize(
    "rate", [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000]
)
def test_regions_on_the_grid_begin_at_whole_periods_of_every_usual_rate(rate):
    assert GRID_SAMPLES % period(rate, 16_000)[1] == 0


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(("start", "stop"), [(0, 100), (799, 2_000), (801, 2_000), (5_000, None), (0, None)])
def test_a_part_is_what_the_whole_has_there(rate, start, stop):
    reader = Noise(rate)
    whole = soxr.resample(reader.samples, rate, 16_000, "HQ")
    found = np.concatenate(list(resample(reader, 16_000, start, stop)))
    assert len(found) == len(whole[start:stop])
    assert np.abs(found - whole[start:stop]).max() < 1e-4


@pytest.mark.parametrize(
    ("start", "stop", "asked"),
    [
        (0, 16_000, (0, 46_305)),  # 0.05 s before and behind: 800 samples at 16 kHz, 2,205 at 44.1 kHz.
        (799, None, (0, None)),
        (960, None, (441, None)),  # A whole period of 160 samples, or 441 frames, is not needed.
        (959, None, (0, None)),
        (1_120, 1_280, (882, 5_733)),
    ],
)
def test_no_more_than_the_context_is_read_around_a_part(start, stop, asked):
    reader = Noise(44_100)
    list(resample(reader, 16_000, start, stop))
    assert reader.asked == [asked]


def test_nothing_is_resampled_to_the_same_rate():
    reader = Noise(16_000)
    found = np.concatenate(list(resample(reader, 16_000, 1_234, 5_678)))
    assert np.array_equal(found, reader.samples[1_234:5_678])
