"""The soak: its arithmetic, and a short real one on the CPU."""

import pytest

from genremill.bench.plot import plot_soak
from genremill.bench.soak import SoakSample, measure_soak, summarise
from genremill.bench.target import Target
from tests.support.png import is_png


def test_memory_that_grows_after_the_first_minute_is_a_drift():
    samples = [SoakSample(float(s), 100 * s, 500.0, 1000.0 + max(0, s - 60)) for s in range(301)]
    result = summarise("GPU", "AMP bf16", samples)
    vram, rss = result.drifts
    assert (vram.memory, vram.settled_mib, vram.end_mib, vram.peak_mib) == ("VRAM", 1000, 1240, 1240)
    assert vram.drift_percent == pytest.approx(24)
    assert rss.drift_percent == 0
    assert (result.first_windows_per_s, result.last_windows_per_s) == pytest.approx((100, 100))


def test_a_rate_that_falls_shows_in_the_last_stretch():
    windows = [100 * s if s <= 240 else 24_000 + 50 * (s - 240) for s in range(301)]
    result = summarise("CPU", "fp32", [SoakSample(float(s), windows[s], 500.0, None) for s in range(301)])
    assert (result.first_windows_per_s, result.last_windows_per_s) == pytest.approx((100, 50))
    assert [drift.memory for drift in result.drifts] == ["RSS"]


def test_a_soak_keeps_the_engine_busy(tmp_path):
    result = measure_soak("musicnn", Target("cpu"), 2.5 / 60)
    assert result.samples[-1].windows > result.samples[1].windows > 0
    assert [drift.memory for drift in result.drifts] == ["RSS"]
    plot_soak(result, "musicnn", tmp_path / "soak.png")
    assert is_png(tmp_path / "soak.png")
