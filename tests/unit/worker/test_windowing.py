"""Where windows lie."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.windowing import REGION_S, Windowing, WindowPosition

RATE, HOP, CONTEXT = 22_050, 512, 24 * 512
WINDOW = 491 * HOP + 2 * CONTEXT
FULL = Windowing(RATE, WINDOW, "full", HOP)
REGIONS = Windowing(RATE, WINDOW, "regions", HOP)


def theirs(total: int) -> list[tuple[int, int]]:
    """First frame and length of each window: the published code's own lines."""
    total_frames = 1 + total // HOP
    step = int(11.4 * total_frames / (total / RATE))
    count = int(total_frames / step) if step else 0
    begin = int(0.5 * (total_frames - count * step))
    return [(i, step) for i in range(begin, begin + step * count, step)]


@given(st.integers(int(11.5 * RATE), 1200 * RATE))
def test_full_is_cut_as_published(total):
    positions = FULL.published_positions(total)
    scored = [((position.start + CONTEXT) // HOP, position.frames) for position in positions if not position.edge]
    assert scored == theirs(total)
    assert all((position.start + CONTEXT) % HOP == 0 for position in positions)
    assert [position.start for position in positions] == sorted(position.start for position in positions)


@given(st.integers(int(11.5 * RATE), 1200 * RATE))
def test_windows_and_edges_together_see_every_frame(total):
    seen = set()
    for position in FULL.published_positions(total):
        first = (position.start + CONTEXT) // HOP
        assert first >= 0
        assert first + position.frames <= 1 + total // HOP
        seen.update(range(first, first + position.frames))
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


def test_windows_without_a_hop_lie_back_to_back():
    windowing = Windowing(16_000, 47_872)
    assert [position.start for position in windowing.regions(60 * 16_000)[0]] == [87_680, 135_552, 183_424]
    assert list(itertools.islice(windowing.contiguous(), 2)) == [WindowPosition(0), WindowPosition(47_872)]
    assert (windowing.region_windows, windowing.stride, windowing.context) == (3, 47_872, 0)


def test_a_window_with_a_hop_has_room_for_one_frame_more():
    assert (REGIONS.frames, REGIONS.context, REGIONS.region_windows) == (490, CONTEXT, 1)
    with pytest.raises(ValueError, match=f"shorter than {REGION_S}"):
        Windowing(RATE, 100 * HOP, "full", HOP)


@pytest.mark.parametrize("wrong", [{"coverage": "half"}, {"sample_rate": 0}, {"window": 0}])
def test_what_is_no_cut_is_refused(wrong):
    with pytest.raises(ValueError):
        Windowing(**{"sample_rate": 16_000, "window": 16_000, **wrong})
