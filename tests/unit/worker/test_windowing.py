"""Where windows lie: regions, back to back, and as the published systems cut a track."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.windowing import CONTEXT_S, REGION_S, FrameCut, NativeLayout, Windowing, WindowPosition

RATE, HOP, CONTEXT = 22_050, 512, 24 * 512
WINDOW = 491 * HOP + 2 * CONTEXT
FULL = Windowing(RATE, WINDOW, "full", HOP)
REGIONS = Windowing(RATE, WINDOW, "regions", HOP)
MUSICNN = Windowing(16_000, 47_872)


def published(total: int) -> list[tuple[int, int]]:
    """First frame and number of frames of each window, by the published code's own lines."""
    total_frames = 1 + total // HOP
    step = int(11.4 * total_frames / (total / RATE))
    count = int(total_frames / step) if step else 0
    begin = int(0.5 * (total_frames - count * step))
    return [(i, step) for i in range(begin, begin + step * count, step)]


@given(st.integers(int(11.5 * RATE), 1200 * RATE))
def test_full_is_cut_as_published(total):
    positions = FULL.published_positions(total)
    scored = [
        ((position.start + CONTEXT) // HOP, position.cut.frames) for position in positions if not position.cut.edge
    ]
    assert scored == published(total)
    assert all((position.start + CONTEXT) % HOP == 0 for position in positions)
    assert [position.start for position in positions] == sorted(position.start for position in positions)


@given(st.integers(int(11.5 * RATE), 1200 * RATE))
def test_windows_and_edges_together_see_every_frame(total):
    seen = set()
    for position in FULL.published_positions(total):
        first = (position.start + CONTEXT) // HOP
        assert first >= 0
        assert first + position.cut.frames <= 1 + total // HOP
        seen.update(range(first, first + position.cut.frames))
    assert seen == set(range(1 + total // HOP))


@pytest.mark.parametrize("total", [0, 1, HOP, 5 * RATE, 11 * RATE])
def test_a_track_shorter_than_a_window_is_not_cut(total):
    assert FULL.published_positions(total) == []


@given(st.integers(1, 40_000 * RATE))
def test_regions_lie_within_the_track_on_the_grid_of_frames(total):
    regions = REGIONS.regions(total)
    assert len(regions) == (3 if total >= 3 * 490 * HOP else 0)
    for number, (position,) in enumerate(regions):
        start = position.start + CONTEXT
        assert start % HOP == 0
        assert start >= 0
        assert start + 490 * HOP <= total
        assert abs(start + 245 * HOP - total * (2 * number + 1) / 6) <= HOP


def test_a_track_without_frames_left_over_has_no_edges():
    """12 s have 1 + 264,600 // 512 = 517 frames, of which a window takes 491: 13 are left over on both sides."""
    total = 12 * RATE
    assert [(position.cut.frames, position.cut.edge) for position in FULL.published_positions(total)] == [
        (491, True),
        (491, False),
        (491, True),
    ]
    starts = [position.start + CONTEXT for position in FULL.published_positions(total)]
    assert starts == [0, 13 * HOP, 26 * HOP]
    exact = next(total for total in range(20 * RATE, 40 * RATE) if 2 * published(total)[0][1] == 1 + total // HOP)
    assert [position.cut.edge for position in FULL.published_positions(exact)] == [False, False]
    odd = next(total for total in range(20 * RATE, 40 * RATE) if 2 * published(total)[0][1] + 1 == 1 + total // HOP)
    assert [position.cut.edge for position in FULL.published_positions(odd)] == [False, False, True]


@given(
    st.integers(8_000, 48_000),
    st.integers(100, 2_000),
    st.integers(0, 100),
    st.floats(11.3, 60.0),
)
def test_a_published_window_never_has_more_frames_than_fit(rate, hop, more, seconds):
    """Frames of a window depend on the rounded number of frames of the track."""
    windowing = Windowing(rate, (int(11.4 * rate / hop) + 1) * hop + more * hop, "full", hop)
    for position in windowing.published_positions(int(seconds * rate)):
        assert position.cut.frames in (windowing.frames, windowing.frames + 1)
        assert position.cut.frames * hop + 2 * windowing.context <= windowing.window


def test_windows_without_a_hop_lie_back_to_back():
    assert [position.start for position in MUSICNN.regions(60 * 16_000)[0]] == [87_680, 135_552, 183_424]
    expected = [WindowPosition(0, None), WindowPosition(47_872, None)]
    assert list(itertools.islice(MUSICNN.contiguous(), 2)) == expected
    assert list(itertools.islice(MUSICNN.contiguous(5), 2)) == [WindowPosition(5), WindowPosition(47_877)]
    assert (MUSICNN.region_windows, MUSICNN.stride, MUSICNN.context, MUSICNN.frames) == (3, 47_872, 0, 0)


def test_regions_without_a_hop_begin_at_multiples_of_640():
    """The middles are at 1/6, 3/6 and 5/6, and the regions are 3 * 47,872 = 143,616 samples long."""
    total = 100 * 16_000 + 1
    exact = [266_666 - 71_808, 800_000 - 71_808, 1_333_334 - 71_808]
    starts = [positions[0].start for positions in MUSICNN.regions(total)]
    assert starts == [start - start % 640 for start in exact]


@pytest.mark.parametrize(("missing", "regions"), [(0, 3), (1, 0)])
def test_a_track_as_long_as_its_regions_has_them(missing, regions):
    assert len(MUSICNN.regions(9 * 47_872 - missing)) == regions
    assert MUSICNN.regions(9 * 47_872)[0][0].start == 0


def test_full_has_no_regions():
    assert Windowing(16_000, 47_872, "full").regions(10**9) == []


def test_windows_with_a_hop_begin_with_their_context():
    positions = list(itertools.islice(REGIONS.contiguous(1_024), 2))
    assert positions == [
        WindowPosition(1_024 - CONTEXT, FrameCut(490)),
        WindowPosition(1_024 - CONTEXT + 490 * HOP, FrameCut(490)),
    ]


def test_a_window_with_a_hop_has_room_for_one_frame_more():
    assert (REGIONS.frames, REGIONS.context, REGIONS.region_windows) == (490, CONTEXT, 1)
    assert REGIONS.stride == 490 * HOP
    with pytest.raises(ValueError, match=f"shorter than {REGION_S}"):
        Windowing(RATE, 100 * HOP, "full", HOP)
    assert Windowing(RATE, 491 * HOP, "full", HOP).context == 0
    with pytest.raises(ValueError, match="shorter"):
        Windowing(RATE, 491 * HOP - 1, "full", HOP)


@pytest.mark.parametrize(("window", "count"), [(60_800, 3), (60_801, 2), (182_400, 1), (182_401, 1), (10**6, 1)])
def test_a_region_lasts_no_longer_than_11_4_seconds_unless_a_window_does(window, count):
    """11.4 s are 182,400 samples at 16 kHz."""
    assert Windowing(16_000, window).region_windows == count


def test_what_is_needed_of_a_window_is_all_of_it_or_the_middle_of_its_last_frame():
    assert MUSICNN.needed(WindowPosition(0)) == 47_872
    assert FULL.needed(WindowPosition(0, FrameCut(490))) == CONTEXT + 489 * HOP + 1


def test_a_native_region_has_its_windows_and_context_on_both_sides():
    """Three windows of 47,872 samples at 16 kHz last 8.976 s; with 0.05 s on both sides, 9.076 s."""
    assert CONTEXT_S == 0.05
    assert MUSICNN.region_frames(44_100) == math.ceil(9.076 * 44_100)
    assert MUSICNN.region_frames(16_000) == 145_216
    assert REGIONS.region_frames(RATE) == math.ceil(WINDOW + 2 * 0.05 * RATE)
    assert Windowing(1_000, 3_001).region_frames(1_000) == 9_103


def test_a_native_layout_counts_the_windows_of_all_regions():
    assert len(NativeLayout(44_100, (0, 5, 9), 4, 100)) == 12


def test_regions_at_the_models_rate_are_the_default():
    assert Windowing(16_000, 100) == Windowing(16_000, 100, "regions", hop=0, band_hz=0, native=False)


def test_frequencies_up_to_half_the_rate_are_heard_unless_the_model_says_less():
    assert Windowing(16_000, 100).max_frequency_hz == 8_000
    assert Windowing(16_000, 100, band_hz=6_000).max_frequency_hz == 6_000


@pytest.mark.parametrize("wrong", [{"coverage": "half"}, {"sample_rate": 0}, {"window": 0}, {"window": -1}])
def test_a_windowing_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=r"coverage is|are positive"):
        Windowing(**{"sample_rate": 16_000, "window": 16_000, **wrong})
    assert Windowing(1, 1).stride == 1
