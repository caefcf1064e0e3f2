"""What a worker tells of itself, on a CPU and on a GPU."""

import json
import os
import subprocess
import sys
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import wait_until
from tests.support.fake_nvml import GIB, FakeGpu, FakeNvml
from tests.support.paths import ROOT
from tests.unit.worker.monitoring.watching import JOBS, watch
from worker.inference.batch_size import Counters
from worker.monitoring import telemetry
from worker.monitoring.memory_trend import MIB

OTHER_PID = 1 << 30  # More than any process id that Linux gives.


@pytest.fixture(autouse=True)
def every_gpu_is_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_on_a_cpu_there_is_no_vram_but_the_processs_memory():
    watched = watch("cpu", library=FakeNvml(FakeGpu("GPU-a")))
    watched.sample()
    figures = watched.figures()
    names = ("gpu", "uuid", "total_bytes", "used_bytes", "free_bytes", "reserved_bytes", "allocated_bytes")
    assert {figures[name] for name in (*names, "utilization")} == {None}
    assert figures["process_bytes"] > 10 * MIB
    assert figures["curve"] == [figures["process_bytes"] // MIB]
    assert (figures["node"], figures["device"], figures["pid"]) == ("gpu0@host", "cpu", os.getpid())
    assert figures["jobs"] == JOBS
    assert json.loads(json.dumps(figures)) == figures


def test_on_a_gpu_there_is_the_cards_memory_and_the_processs():
    library = FakeNvml(FakeGpu("GPU-a", used=6 * GIB, processes=[(os.getpid(), 5 * GIB), (OTHER_PID, GIB)]))
    watched = watch("cuda:0", library=library)
    watched.sample()
    figures = watched.figures()
    assert (figures["gpu"], figures["uuid"], figures["utilization"]) == ("Fake GPU", "GPU-a", 0.5)
    assert (figures["total_bytes"], figures["used_bytes"], figures["free_bytes"]) == (16 * GIB, 6 * GIB, 10 * GIB)
    assert (figures["process_bytes"], figures["reserved_bytes"], figures["allocated_bytes"]) == (5 * GIB, 0, 0)
    assert figures["curve"] == [5 * GIB // MIB]
    assert json.loads(json.dumps(figures)) == figures


@pytest.mark.parametrize("processes", [None, [], [(os.getpid(), None)], [(OTHER_PID, GIB)]])
def test_where_the_driver_does_not_tell_the_processs_memory_it_is_what_torch_reserved(processes):
    watched = watch("cuda:0", library=FakeNvml(FakeGpu("GPU-a", processes=processes)))
    watched.sample()
    figures = watched.figures()
    assert figures["process_bytes"] == figures["reserved_bytes"] == 0


def test_before_the_first_sample_there_are_no_figures_of_memory():
    figures = watch("cpu", Counters(windows=7)).figures()
    assert (figures["process_bytes"], figures["curve"], figures["curve_s"]) == (None, [], 0.0)
    assert figures["verdict"]["text"] == "Nothing was measured yet."
    assert figures["models"][0]["windows"] == 7


def test_the_rate_is_of_the_last_samples_and_engines_of_one_model_are_one():
    first, second = Counters(windows=10, batch=4, limit=8), Counters(windows=1, batch=5, limit=9, out_of_memory=2)
    watched = watch("cpu", first, second)
    assert watched.figures()["windows_per_s"] == 0
    for _ in range(3):
        watched.sample()
        first.windows += 100
    figures = watched.figures()
    (model,) = figures["models"]
    assert (model["windows"], model["batch"], model["limit"], model["out_of_memory"]) == (311, 5, 9, 2)
    assert figures["windows_per_s"] == model["windows_per_s"] > 0
    for _ in range(telemetry.RATE_SAMPLES):
        watched.sample()
    assert watched.figures()["windows_per_s"] == 0


def test_all_counters_of_engines_of_one_model_are_added_up():
    first = Counters(windows=10, out_of_memory=1, on_cpu=3, batches=5)
    second = Counters(windows=20, out_of_memory=2, on_cpu=4, batches=7)
    (model,) = watch("cpu", first, second).figures()["models"]
    sums = {"windows": 30, "out_of_memory": 3, "on_cpu": 7, "batches": 12}
    assert model == {**asdict(second), **sums, "model": "musicnn", "dtype": "bfloat16", "windows_per_s": 0.0}


KEY = ("musicnn", "float32")


@pytest.mark.parametrize(
    ("windows", "rate"),
    [
        ([], 0.0),
        ([(0.0, {KEY: 5})], 0.0),
        ([(10.0, {KEY: 100}), (11.0, {KEY: 9_999}), (14.0, {KEY: 300})], 50.0),
        ([(10.0, {}), (12.0, {KEY: 60})], 30.0),  # the model was loaded between the two
        ([(10.0, {KEY: 60}), (12.0, {})], 0.0),
        ([(10.0, {KEY: 1}), (10.0, {KEY: 2})], 1000.0),  # the clock did not move
        ([(10.0, {KEY: 1}), (9.0, {KEY: 2})], 1000.0),  # the clock was set back
    ],
)
def test_windows_per_second_are_counted_from_the_first_sample_to_the_last(windows, rate):
    assert telemetry.windows_per_s(windows, KEY) == pytest.approx(rate)


@given(st.lists(st.integers(0, 1 << 40), max_size=telemetry.HISTORY_SAMPLES))
def test_a_curve_is_short_and_keeps_the_peak(used):
    points = telemetry.curve(used)
    assert len(points) <= telemetry.CURVE_POINTS
    assert max(points, default=0) == max(used, default=0) // MIB


@pytest.mark.parametrize(
    ("samples", "points"), [(0, 0), (1, 1), (119, 119), (120, 120), (121, 61), (240, 120), (600, 120)]
)
def test_a_curve_joins_samples_only_where_there_are_more_than_it_may_have_points(samples, points):
    assert len(telemetry.curve([MIB] * samples)) == points


def test_a_started_one_answers_in_its_process_until_it_is_closed():
    watched = watch("cpu").start()
    try:
        wait_until(lambda: telemetry.gpu(None)["process_bytes"])
    finally:
        watched.close()
    assert "error" in telemetry.gpu(None)


def test_a_figure_that_cannot_be_had_ends_the_sampling_with_a_warning(caplog):
    def fail():
        raise RuntimeError("no counters")

    watched = telemetry.Telemetry("gpu0@host", "cpu", fail).start()
    try:
        wait_until(lambda: "no telemetry any more" in caplog.text)
    finally:
        watched.close()


def test_the_celery_client_knows_the_command():
    listed = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", "inspect", "--list"], cwd=ROOT, capture_output=True, text=True
    )
    assert "  gpu " in listed.stdout
