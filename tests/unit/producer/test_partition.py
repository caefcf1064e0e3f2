"""Jobs of bounded and about equal cost."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.pending import PendingTrack
from producer.partition import MAX_JOB_AUDIO_S, UNKNOWN_AUDIO_S, JobBatch, audio_s, partition

durations = st.lists(st.none() | st.floats(0, 20_000), max_size=400)
coverages = st.sampled_from(["regions", "full"])


def tracks(seconds):
    return [PendingTrack(index, duration_s) for index, duration_s in enumerate(seconds)]


@given(durations, coverages, st.integers(1, 100))
def test_every_track_is_in_one_job_and_no_job_is_too_large(seconds, coverage, max_tracks):
    wanted = {track.prediction_id: audio_s(track, coverage) for track in tracks(seconds)}
    batches = list(partition(tracks(seconds), coverage, max_tracks))
    assert Counter(id for batch in batches for id in batch.prediction_ids) == Counter(wanted.keys())
    for batch in batches:
        assert 1 <= len(batch.prediction_ids) <= max_tracks
        assert batch.audio_s <= MAX_JOB_AUDIO_S or len(batch.prediction_ids) == 1
        assert abs(batch.audio_s - sum(wanted[id] for id in batch.prediction_ids)) < 1e-6 * (1 + batch.audio_s)


def test_a_large_order_fills_its_jobs_and_a_small_one_is_shared():
    sizes = [len(batch.prediction_ids) for batch in partition(tracks([240.0] * 2000), "regions", 64)]
    assert set(sizes[:-1]) == {64}
    sizes = [len(batch.prediction_ids) for batch in partition(tracks([240.0] * 160), "regions", 64)]
    assert sizes == [16] * 10


def test_a_long_track_costs_more_only_where_all_of_it_is_read():
    short, long = PendingTrack(1, 240.0), PendingTrack(2, 10_800.0)
    assert audio_s(short, "regions") == audio_s(long, "regions")
    assert audio_s(long, "full") > 40 * audio_s(short, "full")


seconds = st.none() | st.floats(0, 20_000)


@given(seconds, seconds, coverages)
def test_a_longer_track_never_costs_less(one, other, coverage):
    known = sorted(UNKNOWN_AUDIO_S if length is None else length for length in (one, other))
    costs = [audio_s(PendingTrack(0, length), coverage) for length in known]
    assert 0 < costs[0] <= costs[1]
    assert audio_s(PendingTrack(0, None), coverage) == audio_s(PendingTrack(0, UNKNOWN_AUDIO_S), coverage)


@given(durations, st.integers(1, 100))
def test_the_most_costly_come_first(lengths, max_tracks):
    cost = {track.prediction_id: audio_s(track, "full") for track in tracks(lengths)}
    order = [cost[id] for batch in partition(tracks(lengths), "full", max_tracks) for id in batch.prediction_ids]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize(
    ("duration_s", "coverage", "cost_s"),
    [
        (0.0, "regions", 5.0),
        (10.0, "regions", 15.0),
        (34.2, "regions", 39.2),
        (34.3, "regions", 39.2),
        (None, "regions", 39.2),
        (0.0, "full", 5.0),
        (34.3, "full", 39.3),
        (None, "full", 245.0),
    ],
)
def test_a_track_costs_what_is_decoded_of_it_and_the_opening_of_its_file(duration_s, coverage, cost_s):
    assert audio_s(PendingTrack(1, duration_s), coverage) == pytest.approx(cost_s, abs=1e-9)


def sizes(tracks_count, max_tracks, **options) -> list[int]:
    return [
        len(batch.prediction_ids)
        for batch in partition(tracks([100.0] * tracks_count), "regions", max_tracks, **options)
    ]


@pytest.mark.parametrize(
    ("tracks_count", "max_tracks", "expected"),
    [
        (0, 64, []),
        (1, 64, [1]),
        (16, 64, [16]),
        (17, 64, [16, 1]),
        (256, 64, [16] * 16),
        (257, 64, [17] * 15 + [2]),
        (5, 2, [2, 2, 1]),
        (20, 16, [16, 4]),
    ],
)
def test_how_many_tracks_a_job_has(tracks_count, max_tracks, expected):
    assert sizes(tracks_count, max_tracks) == expected


def test_a_large_order_may_be_divided_into_few_jobs():
    assert sizes(100, 64, min_jobs=2) == [50, 50]
    assert sizes(101, 64, min_jobs=2) == [51, 50]
    assert sizes(200, 64, min_jobs=2) == [64, 64, 64, 8]


def test_a_job_may_cost_an_hour_and_no_more():
    """Half an hour of a track is 1795 s of audio and 5 s for opening it."""
    assert list(partition(tracks([1795.0, 1795.0]), "full", 64)) == [JobBatch((0, 1), 3600.0)]
    assert [batch.prediction_ids for batch in partition(tracks([1795.0, 1795.1]), "full", 64)] == [(1,), (0,)]
    assert [batch.prediction_ids for batch in partition(tracks([9000.0, 1.0, 2.0]), "full", 64)] == [(0,), (2, 1)]


def test_tracks_of_equal_cost_keep_their_order():
    assert [batch.prediction_ids for batch in partition(tracks([100.0, 300.0, 200.0, 1.0]), "regions", 64)] == [
        (0, 1, 2, 3)
    ]
