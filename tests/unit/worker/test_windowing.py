"""Where windows lie."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.windowing import REGION_S, Cut, Place

RATE, HOP, CONTEXT = 22_050, 512, 24 * 512
WINDOW = 491 * HOP + 2 * CONTEXT
FULL = Cut(RATE, WINDOW, "full", HOP)
REGIONS = Cut(RATE, WINDOW, "regions", HOP)


def theirs(total: int) -> list[tuple[int, int]]:
    """First frame and length of each window: the published code's own lines."""
    total_frames = 1 + total // HOP
    step = int(11.4 * total_frames / (total / RATE))
    count = int(total_frames / step) if step else 0
    begin = int(0.5 * (total_frames - count * step))
    return [(i, step) for i in range(begin, begin + step * count, step)]


@given(st.integers(int(11.5 * RATE), 1200 * RATE))
def test_full_is_cut_as_published(total):
    places = FULL.published(total)
    scored = [((place.start + CONTEXT) // HOP, place.frames) for place in places if not place.edge]
    assert scored == theirs(total)
    assert all((place.start + CONTEXT) % HOP == 0 for place in places)
    assert [place.start for place in places] == sorted(place.start for place in places)


@given(st.integers(int(11.5 * RATE), 1200 * RATE))
def test_windows_and_edges_together_see_every_frame(total):
    seen = set()
    for place in FULL.published(total):
        first = (place.start + CONTEXT) // HOP
        assert first >= 0 and first + place.frames <= 1 + total // HOP
        seen.update(range(first, first + place.frames))
    assert seen == set(range(1 + total // HOP))


@pytest.mark.parametrize("total", [0, 1, HOP, 5 * RATE, 11 * RATE])
def test_a_track_shorter_than_a_window_is_not_cut(total):
    assert FULL.published(total) == []


@given(st.integers(1, 40_000 * RATE))
def test_regions_lie_within_the_track_on_the_grid_of_frames(total):
    regions = REGIONS.regions(total)
    assert len(regions) == (3 if total >= 3 * 490 * HOP else 0)
    for number, (place,) in enumerate(regions):
        start = place.start + CONTEXT
        assert start % HOP == 0 and start >= 0 and start + 490 * HOP <= total
        assert abs(start + 245 * HOP - total * (2 * number + 1) / 6) <= HOP


def test_windows_without_a_hop_lie_back_to_back():
    cut = Cut(16_000, 47_872)
    assert [place.start for place in cut.regions(60 * 16_000)[0]] == [87_680, 135_552, 183_424]
    assert list(itertools.islice(cut.walk(), 2)) == [Place(0), Place(47_872)]
    assert (cut.region_windows, cut.stride, cut.context) == (3, 47_872, 0)


def test_a_window_with_a_hop_has_room_for_one_frame_more():
    assert (REGIONS.frames, REGIONS.context, REGIONS.region_windows) == (490, CONTEXT, 1)
    with pytest.raises(ValueError, match=f"shorter than {REGION_S}"):
        Cut(RATE, 100 * HOP, "full", HOP)


@pytest.mark.parametrize("wrong", [{"coverage": "half"}, {"sample_rate": 0}, {"window": 0}])
def test_what_is_no_cut_is_refused(wrong):
    with pytest.raises(ValueError):
        Cut(**{"sample_rate": 16_000, "window": 16_000, **wrong})
