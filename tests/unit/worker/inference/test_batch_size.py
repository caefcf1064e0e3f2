"""How large batches are: the size that is best, the one that fits, back-off and growth."""

import itertools
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.inference.batch_size import (
    BATCH_SIZES,
    GROW_AFTER_BATCHES,
    MIN_BATCH_S,
    RATE_TOLERANCE,
    BatchCost,
    BatchSizer,
    Counters,
    Profile,
    is_flat,
    padded_size,
)

MIB = 1 << 20


def linear(fixed: int, window: int, overhead_s: float = 0.002, window_s: float = 1e-4) -> Profile:
    """The profile of a device whose batches take overhead_s + n window_s, and fixed + n window bytes."""
    return Profile(tuple(BatchCost(n, overhead_s + n * window_s, fixed + n * window) for n in BATCH_SIZES))


class Card:
    """A simulated GPU: a batch fits when its true need, which the profile may not know, is free."""

    def __init__(self, fixed, window, free):
        self.fixed, self.window, self.free = fixed, window, free

    def run(self, batch) -> bool:
        return self.fixed + batch * self.window <= self.free


sizes = st.integers(1, 400 * MIB)


@given(windows=st.integers(1, 3000))
def test_a_batch_is_filled_up_to_the_next_size_and_no_further(windows):
    size = padded_size(windows)
    assert size >= windows
    assert size in BATCH_SIZES or size == windows > BATCH_SIZES[-1]
    assert not any(windows <= other < size for other in BATCH_SIZES)


@given(fixed=st.integers(0, 400 * MIB), window=sizes, free=st.integers(0, 20_000 * MIB))
def test_what_is_said_to_fit_fits_and_the_next_size_would_not(fixed, window, free):
    profile = linear(fixed, window)
    batch = profile.fitting_batch(free)
    assert batch in (0, *BATCH_SIZES)
    assert batch <= profile.best_batch
    assert batch == 0 or profile.peak_bytes(batch) <= free
    assert batch == profile.best_batch or profile.peak_bytes(batch + 1) > free


@given(fixed=st.integers(0, 400 * MIB), window=sizes, windows=st.integers(1, 1024))
def test_the_peak_of_some_windows_is_that_of_their_size(fixed, window, windows):
    assert linear(fixed, window).peak_bytes(windows) == fixed + padded_size(windows) * window


@given(st.lists(st.floats(1e-4, 10), min_size=1, max_size=10))
def test_the_best_batch_is_the_smallest_within_the_margin_that_lasts(seconds):
    costs = [BatchCost(2**i, s, 0) for i, s in enumerate(seconds)]
    best, fastest = Profile(tuple(costs)).best_batch, max(cost.rate for cost in costs)
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
        size = min(sizer.next_size(card.free), windows - len(done))
        if size == 0:
            done.append("cpu")
            sizer.record_cpu_window()
        elif card.run(size):
            done += ["gpu"] * size
            sizer.record_success(size)
        else:
            failures += 1
            sizer.record_out_of_memory(size)
        assert sizer.limit in (0, *BATCH_SIZES)
        assert sizer.limit <= sizer.profile.best_batch
        assert step <= 20 * windows + 40  # it gets on
    assert len(done) == windows


@given(windows=st.integers(1, 256))
def test_a_batch_that_fails_is_halved_down_to_the_cpu(windows):
    sizer, seen = BatchSizer(linear(0, 1)), []
    while windows:
        sizer.record_out_of_memory(windows)
        seen.append(padded_size(windows))
        windows = sizer.next_size(1 << 60)
    assert all(after <= before / 2 for before, after in itertools.pairwise(seen))
    assert seen[-1] == 1
    sizer.record_cpu_window()
    assert sizer.next_size(1 << 60) == 1


@given(start=st.integers(1, 256))
def test_the_limit_grows_back_step_by_step_to_the_best_and_no_further(start):
    sizer = BatchSizer(linear(0, 1))
    sizer.record_out_of_memory(2 * start)
    limits = [sizer.limit]
    for _ in range(200):
        sizer.record_success(sizer.next_size(1 << 60))
        limits.append(sizer.limit)
    assert limits[-1] == sizer.profile.best_batch
    assert all(after in (before, padded_size(before + 1)) for before, after in itertools.pairwise(limits))
    assert len(limits) - limits.count(sizer.profile.best_batch) >= GROW_AFTER_BATCHES * (len(set(limits)) - 1)


def test_batches_that_are_not_full_say_nothing_of_the_limit():
    sizer = BatchSizer(linear(0, 1))
    sizer.record_out_of_memory(64)
    for _ in range(100):
        sizer.record_success(24)
    assert sizer.limit == 32


def test_a_model_that_could_not_be_measured_starts_small():
    assert Profile().best_batch == 16
    assert Profile().fitting_batch(0) == 16
    assert Profile().peak_bytes(7) == 0
    one = Profile((BatchCost(1, 0.01, 100 * MIB),))
    assert one.best_batch == 1
    assert one.fitting_batch(99 * MIB) == 0
    assert one.fitting_batch(100 * MIB) == 1


def at_rates(*rates: float, seconds: float = 1.0) -> tuple[BatchCost, ...]:
    """Costs of batches that take so many seconds each, at these rates in windows per second."""
    return tuple(BatchCost(rate * seconds, seconds, 0) for rate in rates)


PADDED = {
    1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 8: 8, 9: 16, 16: 16, 17: 24, 24: 24, 25: 32, 32: 32, 33: 48, 48: 48, 49: 64, 64: 64,
    65: 96, 96: 96, 97: 128, 128: 128, 129: 192, 192: 192, 193: 256, 256: 256, 257: 384, 384: 384, 385: 512, 512: 512,
    513: 768, 768: 768, 769: 1024, 1024: 1024, 1025: 1025, 5000: 5000,
}  # fmt: skip


def test_each_number_of_windows_has_its_padded_size():
    assert {windows: padded_size(windows) for windows in PADDED} == PADDED


def test_a_rate_is_in_windows_per_second():
    assert BatchCost(48, 0.25, 0).rate == 192
    assert BatchCost(1, 4.0, 0).rate == 0.25


@pytest.mark.parametrize("value", [BatchCost(1, 1.0, 0), Profile()])
def test_what_was_measured_cannot_be_changed(value):
    with pytest.raises(FrozenInstanceError):
        value.batch = value.costs = 0


@pytest.mark.parametrize(
    ("costs", "best"),
    [
        (at_rates(98, 100), 98),  # exactly two percent below the best
        (at_rates(97.9, 100), 100),
        (at_rates(100, 99), 100),  # the best comes first
        ((BatchCost(1, 0.01, 0), BatchCost(2, 0.02, 0)), 1),  # takes exactly as long as a batch should
        ((BatchCost(1, 0.0099, 0), BatchCost(2, 0.0198, 0), BatchCost(4, 0.0396, 0)), 2),
        ((BatchCost(1, 0.001, 0), BatchCost(2, 0.002, 0), BatchCost(4, 0.004, 0)), 4),  # none takes so long
        ((BatchCost(1, 0.001, 0), BatchCost(2, 0.002, 0), BatchCost(4, 0.5, 0)), 2),  # only a slow one does
    ],
)
def test_the_best_batch_of_some_costs(costs, best):
    assert Profile(costs).best_batch == best


def test_the_peak_of_a_size_above_all_measured_ones_is_in_proportion_and_rounded_up():
    profile = Profile((BatchCost(1, 1.0, 100), BatchCost(2, 1.0, 101), BatchCost(3, 1.0, 200)))
    assert [profile.peak_bytes(windows) for windows in (1, 2, 3, 4, 5)] == [100, 101, 267, 267, 534]


def test_the_peak_of_a_size_that_was_not_measured_is_that_of_the_next_larger_one():
    profile = Profile((BatchCost(1, 1.0, 100), BatchCost(4, 1.0, 300), BatchCost(8, 1.0, 400)))
    assert profile.peak_bytes(2) == 300


def test_a_batch_fits_when_exactly_its_bytes_are_free_and_it_is_not_above_the_best():
    profile = Profile((BatchCost(1, 1.0, 10), BatchCost(2, 1.0, 20), BatchCost(4, 2.1, 30)))  # 1, 2, and 1.9 windows/s
    assert profile.best_batch == 2
    assert [profile.fitting_batch(free) for free in (9, 10, 19, 20, 99)] == [0, 1, 1, 2, 2]


def test_a_profile_says_that_it_is_complete_unless_it_is_told_otherwise():
    assert Profile().complete is True
    assert Profile().costs == ()


@pytest.mark.parametrize(
    ("rates", "flat"),
    [
        ((100, 100), False),  # too few to tell
        ((100, 100, 100), True),
        ((100, 101.9, 101), True),
        ((100, 102, 101), False),  # exactly two percent more
        ((100, 101, 102), False),
        ((100, 103, 50), False),  # one of the two was faster
        ((100, 50, 101, 101), True),  # the best before the two counts, not the one before
        ((50, 100, 101, 101), True),
    ],
)
def test_whether_a_rate_is_flat(rates, flat):
    assert is_flat(at_rates(*rates)) is flat


@pytest.mark.parametrize(
    ("failed", "limit"),
    [(1, 0), (2, 1), (3, 2), (8, 4), (16, 8), (17, 8), (24, 8), (32, 16), (48, 24), (64, 32), (96, 48), (1025, 512)],
)
def test_after_a_batch_that_does_not_fit_the_limit_is_the_largest_size_up_to_half_of_it(failed, limit):
    sizer = BatchSizer(linear(0, 1))
    sizer.record_out_of_memory(failed)
    assert sizer.limit == limit


def test_the_next_size_is_the_smaller_one_of_the_limit_and_what_fits():
    sizer = BatchSizer(linear(0, 1))
    sizer.record_out_of_memory(64)
    assert [sizer.next_size(free) for free in (0, 1, 31, 32, 1000)] == [0, 1, 24, 32, 32]


def test_the_limit_grows_after_four_full_batches_in_a_row_and_each_failure_starts_the_count_again():
    sizer, limits = BatchSizer(linear(0, 1)), []
    sizer.record_out_of_memory(64)
    for outcome in ("well", "well", "well", "failed", "well", "well", "well", "well", "well", "well", "well", "well"):
        if outcome == "failed":
            sizer.record_out_of_memory(32)
        else:
            sizer.record_success(sizer.limit)
        limits.append(sizer.limit)
    assert limits == [32, 32, 32, 16, 16, 16, 16, 24, 24, 24, 24, 32]


@pytest.mark.parametrize("batches", [(25, 26, 31, 32), (33, 64, 64, 64)])
def test_a_batch_counts_as_full_when_it_is_filled_up_to_the_limit_or_above_it(batches):
    sizer = BatchSizer(linear(0, 1))
    sizer.record_out_of_memory(64)
    for windows in batches:
        sizer.record_success(windows)
    assert sizer.limit == 48


def test_batches_at_the_best_size_leave_the_limit_there():
    profile = Profile((BatchCost(1, 1.0, 0), BatchCost(2, 1.0, 0)))
    sizer = BatchSizer(profile)
    for _ in range(10):
        sizer.record_success(2)
    assert sizer.limit == profile.best_batch == 2


def test_a_window_on_the_cpu_raises_only_a_limit_of_none():
    sizer = BatchSizer(linear(0, 1))
    sizer.record_out_of_memory(16)
    sizer.record_cpu_window()
    assert sizer.limit == 8
    sizer.record_out_of_memory(1)
    assert sizer.next_size(1000) == 0
    sizer.record_cpu_window()
    assert sizer.limit == 1


def test_an_engine_that_has_done_nothing_counts_nothing():
    assert Counters() == Counters(windows=0, batches=0, batch=0, limit=0, best=0, out_of_memory=0, on_cpu=0)
