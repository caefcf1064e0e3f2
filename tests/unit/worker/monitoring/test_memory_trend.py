"""A peak, a plateau, a leak and fragmentation can be told apart."""

from hypothesis import given
from hypothesis import strategies as st

from worker.monitoring import memory_trend
from worker.monitoring.memory_trend import MIB, Sample

levels = st.integers(100 * MIB, 80_000 * MIB)


def series(floors, *, swings=(0,), reserved=None, batches_per_sample=1) -> list[Sample]:
    """A sample each second: its floor, and above it one of the swings in turn.

    reserved: bytes that are in use and reserved; without it, what is allocated.
    """
    samples, peak = [], 0
    for second, floor in enumerate(floors):
        allocated = floor + swings[second % len(swings)]
        peak = max(peak, allocated)
        samples.append(
            Sample(second, reserved or allocated, reserved or allocated, allocated, peak, second * batches_per_sample)
        )
    return samples


def ramp(low: int, high: int, length: int) -> list[int]:
    return [low + (high - low) * step // (length - 1) for step in range(length)]


@given(levels, st.integers(memory_trend.PLATEAU_SAMPLES, 600))
def test_a_constant_series_is_a_plateau_since_its_beginning(level, length):
    verdict = memory_trend.diagnose(series([level] * length))
    assert (verdict.sign, verdict.plateau, verdict.leak) == ("plateau", memory_trend.Level(level, 0), None)


@given(levels, st.integers(100, 600), st.floats(1.05, 3), st.integers(1, 4_000))
def test_a_floor_that_rises_steadily_is_a_leak(low, length, times, swing):
    high = max(int(low * times), low + 40 * MIB)
    verdict = memory_trend.diagnose(series(ramp(low, high, length), swings=(swing * MIB, 0)))
    assert verdict.sign == "leak"
    assert 0.8 * (high - low) < verdict.leak.bytes <= high - low
    assert verdict.leak.batches == length - 1


@given(levels, st.integers(100, 600), st.lists(st.integers(0, 8_000), min_size=2, max_size=12))
def test_saw_teeth_over_a_constant_floor_are_no_leak(floor, length, teeth):
    swings = (0, *(tooth * MIB for tooth in teeth))
    assert memory_trend.diagnose(series([floor] * length, swings=swings)).leak is None


@given(levels, st.floats(1.05, 20), st.integers(2, 200), st.integers(200, 400))
def test_a_warm_up_and_then_a_plateau_is_no_leak(low, times, warm_up, length):
    high = int(low * times)
    verdict = memory_trend.diagnose(series(ramp(low, high, warm_up) + [high] * length))
    assert (verdict.sign, verdict.leak) == ("plateau", None)
    assert verdict.plateau.time_s <= warm_up


@given(levels, st.integers(1, 300), st.integers(200, 600))
def test_a_warm_up_and_then_a_drift_below_the_threshold_is_no_leak(low, jump, length):
    high = low + jump * 100 * MIB
    assert memory_trend.diagnose(series([low] * 5 + ramp(high, high + 10 * MIB, length))).leak is None


@given(levels, st.integers(2, 10), st.integers(100, 300))
def test_a_second_model_is_a_step_and_no_leak(floor, times, length):
    assert memory_trend.diagnose(series([floor] * length + [floor * times] * length)).leak is None


@given(levels, st.integers(100, 600))
def test_a_rise_without_batches_is_no_leak(low, length):
    assert memory_trend.diagnose(series(ramp(low, low * 3, length), batches_per_sample=0)).leak is None


@given(levels, st.integers(2, 10), st.integers(40, 200))
def test_a_peak_before_a_plateau_is_named_with_its_time(level, times, length):
    verdict = memory_trend.diagnose(series([level] * 20 + [level * times] + [level] * length))
    assert (verdict.sign, verdict.peak) == ("plateau", memory_trend.Level(level * times, 20))
    assert f"{length} s ago" in verdict.text


@given(levels, st.integers(2, 10), st.integers(1, memory_trend.PLATEAU_SAMPLES - 1))
def test_a_peak_that_has_just_passed_is_a_peak(level, times, length):
    assert memory_trend.diagnose(series([level * times] + [level] * length)).sign == "peak"


@given(levels, st.floats(1.6, 10))
def test_reserved_far_beyond_what_was_ever_allocated_is_fragmentation(level, times):
    level += 1000 * MIB
    verdict = memory_trend.diagnose(series([level] * 60, reserved=int(level * times)))
    assert verdict.sign == "fragmentation"
    assert abs(verdict.fragmentation.ratio - times) < 0.01
    assert verdict.fragmentation.bytes == int(level * times) - level


@given(levels, st.floats(1.6, 10))
def test_what_was_reserved_for_a_batch_that_was_as_large_is_no_fragmentation(level, times):
    reserved = int(level * times)
    samples = series([reserved] + [level] * 60, reserved=reserved)
    assert memory_trend.diagnose(samples).fragmentation is None


@given(levels)
def test_a_short_rise_is_growth(low):
    assert memory_trend.diagnose(series(ramp(low, low * 2, 10))).sign == "growing"


@given(st.lists(st.builds(Sample, st.floats(0, 1e9), *[st.integers(0, 1 << 40)] * 5), max_size=80))
def test_any_series_has_a_verdict_of_one_sentence(samples):
    verdict = memory_trend.diagnose(samples)
    assert verdict.text.endswith(".")
    assert "\n" not in verdict.text
