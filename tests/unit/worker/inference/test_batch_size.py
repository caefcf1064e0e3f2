"""Sizing, back-off and growth, against a simulated device."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.inference.batch_size import (
    GROW_AFTER,
    MIN_BATCH_S,
    RATE_TOLERANCE,
    SIZES,
    BatchCost,
    BatchSizer,
    Profile,
    is_flat,
    size_for,
)
from worker.jobs.prefetch import MOST_JOBS_HELD, jobs_to_hold

MIB = 1 << 20


def linear(fixed: int, window: int, overhead_s: float = 0.002, window_s: float = 1e-4) -> Profile:
    """The profile of a device whose batches take overhead_s + n window_s, and fixed + n window bytes."""
    return Profile(tuple(BatchCost(n, overhead_s + n * window_s, fixed + n * window) for n in SIZES))


class Card:
    """A simulated GPU: a batch fits when its true need, which the profile may not know, is free."""

    def __init__(self, fixed, window, free):
        self.fixed, self.window, self.free = fixed, window, free

    def run(self, batch) -> bool:
        return self.fixed + batch * self.window <= self.free


sizes = st.integers(1, 400 * MIB)


@given(windows=st.integers(1, 3000))
def test_a_batch_is_filled_up_to_the_next_size_and_no_further(windows):
    size = size_for(windows)
    assert size >= windows
    assert size in SIZES or size == windows > SIZES[-1]
    assert not any(windows <= other < size for other in SIZES)


@given(fixed=st.integers(0, 400 * MIB), window=sizes, free=st.integers(0, 20_000 * MIB))
def test_what_is_said_to_fit_fits_and_the_next_size_would_not(fixed, window, free):
    profile = linear(fixed, window)
    batch = profile.fitting(free)
    assert batch in (0, *SIZES)
    assert batch <= profile.best
    assert batch == 0 or profile.peak_bytes(batch) <= free
    assert batch == profile.best or profile.peak_bytes(batch + 1) > free


@given(fixed=st.integers(0, 400 * MIB), window=sizes, windows=st.integers(1, 1024))
def test_the_peak_of_some_windows_is_that_of_their_size(fixed, window, windows):
    assert linear(fixed, window).peak_bytes(windows) == fixed + size_for(windows) * window


@given(st.lists(st.floats(1e-4, 10), min_size=1, max_size=10))
def test_the_best_batch_is_the_smallest_within_the_margin_that_lasts(seconds):
    costs = [BatchCost(2**i, s, 0) for i, s in enumerate(seconds)]
    best, fastest = Profile(tuple(costs)).best, max(cost.rate for cost in costs)
    good = [cost for cost in costs if cost.rate >= (1 - RATE_TOLERANCE) * fastest]
    lasting = [cost.batch for cost in good if cost.seconds >= MIN_BATCH_S]
    assert best == (min(lasting) if lasting else good[-1].batch)


def test_a_rate_is_flat_when_two_batches_in_a_row_bring_nothing():
    rates = [100, 190, 300, 303, 302]
    costs = [BatchCost(2**i, 2**i / rate, 0) for i, rate in enumerate(rates)]
    assert [is_flat(costs[:count]) for count in range(1, 6)] == [False, False, False, False, True]


@given(
    fixed=st.integers(0, 300 * MIB),
    window=st.integers(1, 60 * MIB),
    lie=st.floats(0.3, 3),
    free=st.lists(st.integers(0, 8_000 * MIB), min_size=1, max_size=30),
    windows=st.integers(1, 600),
)
@settings(deadline=None)
def test_every_window_is_predicted_once_whatever_the_card_does(fixed, window, lie, free, windows):
    """The profile is wrong by `lie`, and what is free changes at every step."""
    sizer, card = BatchSizer(linear(fixed, window)), Card(fixed, window * lie, 0)
    done, failures, step = [], 0, 0
    while len(done) < windows:
        card.free = free[step % len(free)]
        step += 1
        size = min(sizer.size(card.free), windows - len(done))
        if size == 0:
            done.append("cpu")
            sizer.went_to_cpu()
        elif card.run(size):
            done += ["gpu"] * size
            sizer.went_well(size)
        else:
            failures += 1
            sizer.out_of_memory(size)
        assert sizer.limit in (0, *SIZES)
        assert sizer.limit <= sizer.profile.best
        assert step <= 20 * windows + 40  # it gets on
    assert len(done) == windows


@given(windows=st.integers(1, 256))
def test_a_batch_that_fails_is_halved_down_to_the_cpu(windows):
    sizer, seen = BatchSizer(linear(0, 1)), []
    while windows:
        sizer.out_of_memory(windows)
        seen.append(size_for(windows))
        windows = sizer.size(1 << 60)
    assert all(after <= before / 2 for before, after in itertools.pairwise(seen))
    assert seen[-1] == 1
    sizer.went_to_cpu()
    assert sizer.size(1 << 60) == 1


@given(start=st.integers(1, 256))
def test_the_limit_grows_back_step_by_step_to_the_best_and_no_further(start):
    sizer = BatchSizer(linear(0, 1))
    sizer.out_of_memory(2 * start)
    limits = [sizer.limit]
    for _ in range(200):
        sizer.went_well(sizer.size(1 << 60))
        limits.append(sizer.limit)
    assert limits[-1] == sizer.profile.best
    assert all(after in (before, size_for(before + 1)) for before, after in itertools.pairwise(limits))
    assert len(limits) - limits.count(sizer.profile.best) >= GROW_AFTER * (len(set(limits)) - 1)


def test_batches_that_are_not_full_say_nothing_of_the_limit():
    sizer = BatchSizer(linear(0, 1))
    sizer.out_of_memory(64)
    for _ in range(100):
        sizer.went_well(24)
    assert sizer.limit == 32


def test_a_model_that_could_not_be_measured_starts_small():
    assert Profile().best == 16
    assert Profile().fitting(0) == 16
    assert Profile().peak_bytes(7) == 0
    one = Profile((BatchCost(1, 0.01, 100 * MIB),))
    assert one.best == 1
    assert one.fitting(99 * MIB) == 0
    assert one.fitting(100 * MIB) == 1


@given(
    batch=st.integers(0, 4096), windows=st.integers(1, 20), children=st.integers(1, 256), tracks=st.integers(1, 1000)
)
def test_the_jobs_held_feed_the_next_batch_and_all_children(batch, windows, children, tracks):
    jobs = jobs_to_hold(batch, windows, children, tracks)
    assert 2 <= jobs <= MOST_JOBS_HELD
    if jobs < MOST_JOBS_HELD:
        assert (jobs - 1) * tracks * windows >= batch
        assert (jobs - 1) * tracks >= 2 * children


def test_the_jobs_held_follow_the_budget():
    assert jobs_to_hold(512, 3, 8, 16) > jobs_to_hold(64, 3, 8, 16) >= jobs_to_hold(1, 3, 8, 16)
