"""Where each finding of worker.monitoring.memory_trend begins, and what is said of it."""

import pytest

from worker.monitoring.memory_trend import (
    MIB,
    Fragmentation,
    Leak,
    Level,
    Sample,
    diagnose,
    find_fragmentation,
    find_leak,
    find_peak,
    find_plateau,
)

GIB = 1024 * MIB


def in_use(*used_bytes: int) -> list[Sample]:
    """A sample each second, from second 100 on, with so many bytes in use, in tensors and at most."""
    return [Sample(100.0 + second, used, 0, used, used, 0) for second, used in enumerate(used_bytes)]


def with_floors(*floors: int, batches: int = 40) -> list[Sample]:
    """A sample for each of so many batches, and one before them; each floor is allocated in an equal part of them."""
    samples = []
    for batch in range(batches + 1):
        floor = floors[min(len(floors) - 1, batch * len(floors) // batches)]
        swing = 500 * MIB if batch % 5 else 0  # The floor is reached in every fifth sample alone.
        samples.append(Sample(float(batch), floor + swing, floor + swing, floor + swing, floor + swing, 7 + batch))
    return samples


def reserved(reserved_bytes: int, needed_bytes: int, samples: int = 30) -> list[Sample]:
    return [Sample(float(second), reserved_bytes, reserved_bytes, 1, needed_bytes, 0) for second in range(samples)]


def test_a_peak_is_the_first_of_the_highest_samples():
    assert find_peak(in_use(1, 5, 3, 5, 2)) == Level(5, 101.0)


@pytest.mark.parametrize(
    ("used", "plateau"),
    [
        ([1000] * 30, Level(1000, 100.0)),
        ([1000] * 29, None),
        ([1] + [1000] * 30, Level(1000, 101.0)),
        ([1] + [1000] * 29, None),
        ([9_700] + [10_000] * 29, Level(9_990, 100.0)),  # 3% below the highest is level
        ([9_699] + [10_000] * 29, None),
        ([10_000] + [9_700] * 29, Level(9_710, 100.0)),
        ([9_850, 10_000] + [9_701] * 29, Level(9_715, 100.0)),
        ([10_002, 9_850] + [9_701] * 29, Level(9_705, 101.0)),
    ],
)
def test_a_plateau_is_30_samples_or_more_that_are_level(used, plateau):
    assert find_plateau(in_use(*used)) == plateau


def even_floors(first: int, step: int) -> list[int]:
    return [first + number * step for number in range(8)]


@pytest.mark.parametrize(
    ("floors", "rise"),
    [
        (even_floors(100 * MIB, 4_793_491), 33_554_437),  # more than 32 MiB
        ([100 * MIB + 4_793_490 * number for number in range(7)] + [132 * MIB], None),  # 32 MiB
        (even_floors(10 * GIB, 46_017_507), 322_122_549),  # more than 3%
        (even_floors(10 * GIB, 46_017_506), None),
        (even_floors(100 * MIB, 0), None),
        (even_floors(1 * GIB, -50 * MIB), None),
    ],
)
def test_a_leak_rises_by_more_than_32_mib_and_3_percent(floors, rise):
    assert find_leak(with_floors(*floors)) == (rise and Leak(rise, 40))


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize(("small_step", "is_leak"), [(17.7, True), (17.6, False), (0, False), (-1, False)])
def test_every_step_of_a_leak_has_more_than_a_fifth_of_the_mean(place, small_step, is_leak):
    steps = [100.0] * 7
    steps[place] = small_step
    floors = [int((1000 + sum(steps[:number])) * MIB) for number in range(8)]
    assert (find_leak(with_floors(*floors)) is not None) == is_leak


def test_a_step_of_exactly_a_fifth_of_the_mean_is_no_leak():
    floors = [number * 17 * MIB for number in range(7)] + [105 * MIB]  # The mean is 15 MiB, and the last step 3 MiB.
    assert find_leak(with_floors(*floors)) is None
    assert find_leak(with_floors(*floors[:-1], floors[-1] + 1)) is not None


def test_a_leak_needs_40_batches():
    floors = even_floors(100 * MIB, 50 * MIB)
    assert find_leak(with_floors(*floors, batches=40)) == Leak(350 * MIB, 40)
    assert find_leak(with_floors(*floors, batches=39)) is None


def test_a_leak_needs_samples_in_all_eight_spans():
    samples = with_floors(*even_floors(100 * MIB, 50 * MIB))
    assert find_leak(samples[:15] + samples[20:]) is None  # those of the fourth span are missing
    assert find_leak(samples[:16] + samples[20:]) == Leak(350 * MIB, 40)


@pytest.mark.parametrize(
    ("reserved_bytes", "needed_bytes", "found"),
    [
        (3 * GIB, 2 * GIB, Fragmentation(GIB, 1.5)),
        (3 * GIB - 1, 2 * GIB, None),
        (356 * MIB, 100 * MIB, Fragmentation(256 * MIB, 3.56)),
        (356 * MIB - 1, 100 * MIB, None),
        (GIB, 0, Fragmentation(GIB - 1, GIB)),  # one byte is allocated in each sample
    ],
)
def test_fragmentation_is_half_as_much_again_and_256_mib(reserved_bytes, needed_bytes, found):
    assert find_fragmentation(reserved(reserved_bytes, needed_bytes)) == found
    assert find_fragmentation(reserved(reserved_bytes, needed_bytes, samples=29)) is None


def test_fragmentation_is_what_was_reserved_in_all_of_the_last_30_samples():
    few, many = reserved(2 * GIB, GIB, samples=1), reserved(4 * GIB, GIB, samples=29)
    assert find_fragmentation(few + many) == Fragmentation(GIB, 2.0)
    assert find_fragmentation(few + many + many[:1]) == Fragmentation(3 * GIB, 4.0)
    needed_once = [*many, *reserved(4 * GIB, 3 * GIB, samples=1)]
    assert find_fragmentation(needed_once) is None


def test_what_is_allocated_now_is_needed_whatever_the_peak_says():
    samples = [Sample(0.0, 4 * GIB, 4 * GIB, 3 * GIB, GIB, 0)] * 30
    assert find_fragmentation(samples) is None


@pytest.mark.parametrize(
    ("samples", "sign", "text"),
    [
        ([], "steady", "Nothing was measured yet."),
        (in_use(GIB), "steady", "Steady so far: 1024 MiB now, 1024 MiB at most; nothing to do."),
        (
            in_use(100 * MIB, 103 * MIB),
            "steady",
            "Steady so far: 103 MiB now, 103 MiB at most; nothing to do.",
        ),
        (
            in_use(100 * MIB, 103 * MIB + 1),
            "growing",
            "Growing: 103 MiB now; usual while models are loaded, look again in a minute.",
        ),
        (
            in_use(*[500 * MIB] * 5, *[800 * MIB] * 29),  # the samples before the last 30 do not count
            "growing",
            "Growing: 800 MiB now; usual while models are loaded, look again in a minute.",
        ),
        (
            in_use(110 * MIB, *[100 * MIB] * 5),
            "steady",
            "Steady so far: 100 MiB now, 110 MiB at most; nothing to do.",
        ),
        (in_use(11, *[10] * 5), "steady", "Steady so far: 0 MiB now, 0 MiB at most; nothing to do."),
        (
            in_use(111 * MIB, *[100 * MIB] * 5),
            "peak",
            "A peak of 111 MiB 5 s ago has passed, 100 MiB now; leave room for the next one.",
        ),
        (in_use(*[100 * MIB] * 31), "plateau", "A plateau: 100 MiB for 30 s; nothing to do."),
        (in_use(11, *[10] * 30), "plateau", "A plateau: 0 MiB for 29 s; nothing to do."),
        (
            in_use(110 * MIB, *[100 * MIB] * 30),
            "plateau",
            "A plateau: 100 MiB for 29 s; nothing to do.",
        ),
        (
            in_use(111 * MIB, *[100 * MIB] * 30),
            "plateau",
            "A plateau: 100 MiB for 29 s, after a peak of 111 MiB 30 s ago: leave room for it; nothing to do.",
        ),
        (
            reserved(3 * GIB, 2 * GIB),
            "fragmentation",
            "Fragmented: 1024 MiB are reserved beyond what tensors ever took at once (1.5 times); they go back to the "
            "card when others need them, or with a restart.",
        ),
        (
            with_floors(*even_floors(100 * MIB, 50 * MIB)),
            "leak",
            "A leak: what stays allocated between batches rose by 350 MiB in 40 batches; restart this worker before "
            "memory ends, and report it with `genremill gpu --json`.",
        ),
    ],
)
def test_a_verdict_says_what_was_found_and_what_to_do(samples, sign, text):
    verdict = diagnose(samples)
    assert (verdict.sign, verdict.text) == (sign, text)


def test_a_verdict_has_all_that_was_found():
    samples = [Sample(float(n), 5 * GIB, 5 * GIB, n * 40 * MIB, n * 40 * MIB, n) for n in range(60)]
    verdict = diagnose(samples)
    assert verdict.sign == "leak"
    assert verdict.leak == Leak(52 * 40 * MIB, 59)
    assert verdict.fragmentation == Fragmentation(5 * GIB - 59 * 40 * MIB, 5 * GIB / (59 * 40 * MIB))
    assert verdict.plateau == Level(5 * GIB, 0.0)
    assert verdict.peak == Level(5 * GIB, 0.0)
