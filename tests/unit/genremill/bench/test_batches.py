"""Batches of growing size: the rule that ends a table, and small real measurements on the CPU."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genremill.bench.batches import BatchPoint, BatchTooLargeError, measure_batches, measure_growing, time_batch
from genremill.bench.plot import plot_batches
from genremill.bench.target import Target, load_target_model
from tests.support.png import is_png

CPU = Target("cpu")
SIZES = [1 << exponent for exponent in range(14)]


def measure_rates(*windows_per_s: float):
    """A measurement that gives these rates, one after the other."""
    rates = iter(windows_per_s)

    def measure(size: int) -> BatchPoint:
        rate = next(rates)
        return BatchPoint(size, size / rate * 1e3, rate, rate / 9, 0.0, 0.0)

    return measure


def test_batches_grow_until_the_rate_has_not_risen_twice():
    points, end = measure_growing(measure_rates(100, 190, 300, 305, 301, 9999), SIZES)
    assert [point.batch for point in points] == [1, 2, 4, 8, 16]
    assert end == "larger batches are no faster"


def test_one_batch_that_is_no_faster_is_not_the_end():
    points, _ = measure_growing(measure_rates(100, 200, 199, 400, 401, 402, 9999), SIZES)
    assert [point.batch for point in points] == [1, 2, 4, 8, 16, 32]


@given(st.integers(0, 12))
def test_out_of_memory_ends_the_batches_and_says_so(last_that_fits):
    measure_growing_rates = measure_rates(*(2.0**exponent for exponent in range(13)))

    def measure(size: int) -> BatchPoint:
        if size > SIZES[last_that_fits]:
            raise BatchTooLargeError("out of memory at 80000 MiB")
        return measure_growing_rates(size)

    points, end = measure_growing(measure, SIZES)
    assert [point.batch for point in points] == SIZES[: last_that_fits + 1]
    assert end == "out of memory at 80000 MiB"


def test_batches_that_all_fit_and_still_get_faster_end_with_the_largest():
    points, end = measure_growing(measure_rates(1, 2, 3, 4), SIZES[:4])
    assert len(points) == 4
    assert end == "larger batches are not tried"


def test_no_batch_has_more_windows_than_the_limit(tmp_path):
    series = measure_batches("musicnn", CPU, max_windows=2)
    assert [point.batch for point in series.points] == [1, 2]
    assert (series.device, series.precision, series.end) == ("CPU", "fp32", "larger batches are not tried")
    plot_batches([series], "musicnn", tmp_path / "batches.png")
    assert is_png(tmp_path / "batches.png")


def test_a_network_that_wants_more_memory_than_there_is_ends_the_table():
    model = load_target_model("musicnn", CPU)
    model.network.forward = lambda waveform: torch.empty(1 << 60)
    with pytest.raises(BatchTooLargeError, match=r"batches of 2: out of memory at \d+ MiB"):
        time_batch(model, "cpu", 2)


def test_an_error_that_is_not_about_memory_is_not_hidden():
    model = load_target_model("musicnn", CPU)
    model.network.forward = lambda waveform: waveform @ waveform
    with pytest.raises(RuntimeError, match="shapes"):
        time_batch(model, "cpu", 2)


def test_a_batch_is_timed_from_samples_to_probabilities():
    point = time_batch(load_target_model("musicnn", CPU), "cpu", 3)
    assert point.batch == 3
    assert point.windows_per_s == pytest.approx(3 / (point.latency_ms / 1e3))
    assert point.tracks_per_s == pytest.approx(point.windows_per_s / 9)
    assert 50 < point.mean_mib <= point.peak_mib
