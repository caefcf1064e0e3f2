"""Reading native regions: where they begin, and when windows are left to be cut by the decode process."""

import math

import numpy as np
import pytest

from worker.decode.native import read_native
from worker.decode.readers.base import ReaderError
from worker.windowing import NativeLayout, Windowing

SMALL = Windowing(1_000, 1_000, native=True)  # A region has 11 windows; with 0.05 s on both sides, it lasts 11.1 s.
SMALL_TOTAL = 40_000  # samples


class Constant:
    """A reader of a file in which all samples have one value, but for some frames."""

    def __init__(self, rate=1_000, channels=1, level=500, frames=None, silent=range(0), missing=False):
        self.rate, self.channels, self.missing = rate, channels, missing
        self.samples = np.full((frames or 40 * rate, channels), level, np.int16)
        self.samples[silent.start : silent.stop] = 0
        self.starts = []

    def read_into(self, out, start):
        if self.missing:
            raise ReaderError("some frames are missing")
        self.starts.append(start)
        part = self.samples[start : start + len(out)]
        out[: len(part)] = part
        return len(part)


def native_of(reader, windowing=SMALL, total=SMALL_TOTAL, room=1 << 20):
    return read_native(reader, total, windowing, np.full(room, 77, np.int16))


def test_regions_begin_a_twentieth_of_a_second_before_their_windows():
    """The windows begin at multiples of 640: the middle at 20 s, less 5.5 s, is at 14,500, of which 14,080 is left."""
    reader = Constant()
    pcm, layout = native_of(reader)
    starts = [positions[0].start for positions in SMALL.regions(SMALL_TOTAL)]
    assert starts == [640, 14_080, 27_520]
    assert reader.starts == [start - 50 for start in starts]
    assert layout == NativeLayout(1_000, (50, 50, 50), 11, 1_000)
    assert pcm.shape == (3, 11_100 + 1, 1)


def test_regions_begin_where_samples_of_both_rates_coincide():
    """At 3 kHz and 2 kHz, samples coincide every 3 and 2 of them: 1,279 - 100 samples are 589 of these periods."""
    windowing = Windowing(2_000, 2_000, hop=0, native=True)
    reader = Constant(rate=3_000)
    pcm, layout = native_of(reader, windowing, 80_001)
    starts = [positions[0].start for positions in windowing.regions(80_001)]
    periods = [(start - 100) // 2 for start in starts]
    assert reader.starts == [3 * period for period in periods]
    assert layout.offsets == tuple(start - 2 * period for start, period in zip(starts, periods, strict=True))
    assert pcm.shape == (3, math.ceil(11.1 * 3_000) + 3, 1)


def test_a_first_region_at_the_tracks_beginning_has_no_context_in_front():
    reader = Constant()
    _, layout = native_of(reader, total=3 * 11_000)
    assert layout.offsets[0] == 0
    assert reader.starts[0] == 0


def test_zeros_are_behind_the_end_of_a_file():
    pcm, _ = native_of(Constant(frames=38_530))
    assert (pcm[2, : 38_530 - 27_470] == 500).all()
    assert not pcm[2, 38_530 - 27_470 :].any()
    assert (pcm[:2] == 500).all()


@pytest.mark.parametrize(("room", "fits"), [(3 * 11_101 * 2, True), (3 * 11_101 * 2 - 1, False)])
def test_regions_fit_a_buffer_that_is_just_as_large(room, fits):
    assert (native_of(Constant(channels=2), room=room) is not None) is fits


@pytest.mark.parametrize(("rate", "is_native"), [(1_024, True), (1_023, True), (1_025, False), (1_027, False)])
def test_rates_that_seldom_coincide_are_left_to_the_decode_process(rate, is_native):
    """997 is a prime, so that another rate has a sample in common with it only once a second."""
    windowing = Windowing(997, 1_000, native=True)
    assert (native_of(Constant(rate=rate), windowing) is not None) is is_native


@pytest.mark.parametrize(
    ("level", "channels", "is_native"),
    [(129, 1, True), (128, 1, False), (-129, 1, True), (-128, 1, False), (129, 2, True), (128, 2, False)],
)
def test_windows_have_to_be_four_times_as_loud_as_silence(level, channels, is_native):
    assert (native_of(Constant(level=level, channels=channels)) is not None) is is_native


@pytest.mark.parametrize(
    ("silent", "is_native"),
    [
        (range(640, 1_640), False),  # The first window of the first region,
        (range(641, 1_640), True),
        (range(640, 1_639), True),
        (range(10_640, 11_640), False),  # its last one,
        (range(37_520, 38_520), False),  # and the last one of the last region.
        (range(37_521, 38_520), True),
        (range(37_520, 38_519), True),
        (range(11_640, 14_080), True),  # No window is here.
    ],
)
def test_each_window_has_to_be_loud_somewhere(silent, is_native):
    assert (native_of(Constant(silent=silent)) is not None) is is_native


@pytest.mark.parametrize(
    ("silent", "is_native"),
    [
        (range(1_280, 3_280), False),  # The first window at twice the rate, which begins at sample 640 of the model,
        (range(1_281, 3_280), True),
        (range(1_280, 3_279), True),
        (range(21_280, 23_280), False),  # and the last window of its region.
        (range(21_281, 23_280), True),
        (range(21_280, 23_279), True),
    ],
)
def test_windows_are_looked_at_where_they_are_at_the_rate_of_the_file(silent, is_native):
    assert (native_of(Constant(rate=2_000, silent=silent)) is not None) is is_native


@pytest.mark.parametrize(("loud", "is_native"), [(899, False), (900, True), (12_299, True), (12_300, False)])
def test_a_window_with_context_has_to_be_loud_without_it(loud, is_native):
    """The first window has 114 frames of 100 samples, without context. Its centre is at 6,666: it begins at 900."""
    windowing = Windowing(1_000, 11_700, hop=100, native=True)
    assert (windowing.frames, windowing.context) == (114, 100)
    reader = Constant(silent=range(14_000))
    reader.samples[loud] = 500
    assert (native_of(reader, windowing) is not None) is is_native


@pytest.mark.parametrize(("total", "is_native"), [(34_300, False), (34_800, True)])
def test_a_window_whose_context_is_before_the_track_is_left_to_the_decode_process(total, is_native):
    """The first window of 11,400 samples begins 5,700 before a sixth of the track, at a multiple of 100: 0 or 100."""
    windowing = Windowing(1_000, 11_700, hop=100, native=True)
    assert (native_of(Constant(), windowing, total) is not None) is is_native


def test_a_track_too_short_for_regions_or_with_missing_frames_is_left_to_the_decode_process():
    assert native_of(Constant(), total=3 * 11_000 - 1) is None
    assert native_of(Constant(missing=True)) is None
