"""Jobs of bounded and about equal cost."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from db.jobs import PendingTrack
from producer.partition import MOST_AUDIO_S, UNKNOWN_AUDIO_S, audio_s, partition

durations = st.lists(st.none() | st.floats(0, 20_000), max_size=400)
coverages = st.sampled_from(["regions", "full"])


def tracks(seconds):
    return [PendingTrack(index, duration_s) for index, duration_s in enumerate(seconds)]


@given(durations, coverages, st.integers(1, 100))
def test_every_track_is_in_one_bucket_and_no_bucket_is_too_large(seconds, coverage, most):
    wanted = {track.id: audio_s(track, coverage) for track in tracks(seconds)}
    buckets = list(partition(tracks(seconds), coverage, most))
    assert Counter(id for bucket in buckets for id in bucket.track_ids) == Counter(wanted.keys())
    for bucket in buckets:
        assert 1 <= len(bucket.track_ids) <= most
        assert bucket.audio_s <= MOST_AUDIO_S or len(bucket.track_ids) == 1
        assert abs(bucket.audio_s - sum(wanted[id] for id in bucket.track_ids)) < 1e-6 * (1 + bucket.audio_s)


def test_a_large_order_fills_its_jobs_and_a_small_one_is_shared():
    sizes = [len(bucket.track_ids) for bucket in partition(tracks([240.0] * 2000), "regions", 64)]
    assert set(sizes[:-1]) == {64}
    sizes = [len(bucket.track_ids) for bucket in partition(tracks([240.0] * 160), "regions", 64)]
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
def test_the_most_costly_come_first(lengths, most):
    cost = {track.id: audio_s(track, "full") for track in tracks(lengths)}
    order = [cost[id] for bucket in partition(tracks(lengths), "full", most) for id in bucket.track_ids]
    assert order == sorted(order, reverse=True)
