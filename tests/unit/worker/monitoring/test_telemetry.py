"""What a worker tells of itself, to people and to Prometheus, on a CPU and on a GPU."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from genremill import gpu_view
from tests.conftest import wait_until
from tests.support.fake_nvml import GIB, FakeGpu, FakeNvml
from tests.support.paths import ROOT
from worker.gpu import nvml
from worker.gpu.nvml import Process, Usage
from worker.inference.batch_size import Counters
from worker.monitoring import telemetry
from worker.monitoring.memory_trend import MIB
from worker.monitoring.telemetry import Telemetry

NOT_AVAILABLE = FakeNvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value


@pytest.fixture(autouse=True)
def every_gpu_is_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def watching(device: str, *counters: Counters, library=None) -> Telemetry:
    engines = [("musicnn", "bfloat16", one) for one in counters]
    return Telemetry("gpu0@host", device, lambda: engines, lambda: 3, library)


def test_a_gpu_tells_its_memory_how_busy_it_is_and_its_processes():
    library = FakeNvml(FakeGpu("GPU-a", used=6 * GIB, busy=75, processes=[(os.getpid(), GIB), (1 << 30, None)]))
    usage = nvml.usage("GPU-a", library)
    assert (usage.total_bytes, usage.used_bytes, usage.free_bytes) == (16 * GIB, 6 * GIB, 10 * GIB)
    assert usage.utilization == 0.75
    own, hidden = usage.processes
    assert (own.used_bytes, own.name) == (GIB, Path("/proc/self/comm").read_text().strip())
    assert hidden == Process(1 << 30, None, None)


@pytest.mark.parametrize(
    ("gpu", "utilization", "processes"),
    [
        (FakeGpu("GPU-a", busy=None), None, ()),
        (FakeGpu("GPU-a", processes=None), 0.5, ()),
        (FakeGpu("GPU-a", processes=[(1 << 30, NOT_AVAILABLE)]), 0.5, (Process(1 << 30, None, None),)),
        (FakeGpu("GPU-b", mig=[FakeGpu("MIG-a")]), None, ()),
    ],
)
def test_a_figure_that_a_gpu_does_not_give_is_none(gpu, utilization, processes):
    uuid = gpu.mig[0].uuid if gpu.mig else gpu.uuid
    usage = nvml.usage(uuid, FakeNvml(gpu))
    assert (usage.used_bytes, usage.utilization, usage.processes) == (2 * GIB, utilization, processes)


def test_a_gpu_that_is_gone_tells_nothing():
    assert nvml.usage("GPU-gone", FakeNvml(FakeGpu("GPU-a"))) == Usage()


def test_on_a_cpu_there_is_no_vram_but_the_processs_memory():
    watch = watching("cpu", library=FakeNvml(FakeGpu("GPU-a")))
    watch.sample()
    figures = watch.figures()
    names = ("gpu", "uuid", "total_bytes", "used_bytes", "free_bytes", "reserved_bytes", "allocated_bytes")
    assert {figures[name] for name in (*names, "utilization")} == {None}
    assert figures["process_bytes"] > 10 * MIB
    assert figures["jobs"] == 3
    assert json.loads(json.dumps(figures)) == figures


def test_on_a_gpu_there_is_the_cards_memory_and_the_processs():
    library = FakeNvml(FakeGpu("GPU-a", used=6 * GIB, processes=[(os.getpid(), 5 * GIB), (1 << 30, GIB)]))
    watch = watching("cuda:0", library=library)
    watch.sample()
    figures = watch.figures()
    assert (figures["gpu"], figures["uuid"], figures["utilization"]) == ("Fake GPU", "GPU-a", 0.5)
    assert (figures["total_bytes"], figures["used_bytes"], figures["free_bytes"]) == (16 * GIB, 6 * GIB, 10 * GIB)
    assert (figures["process_bytes"], figures["reserved_bytes"], figures["allocated_bytes"]) == (5 * GIB, 0, 0)
    assert figures["curve"] == [5 * GIB // MIB]
    assert json.loads(json.dumps(figures)) == figures


def test_the_rate_is_of_the_last_samples_and_engines_of_one_model_are_one():
    first, second = Counters(windows=10, batch=4, limit=8), Counters(windows=1, batch=5, limit=9, out_of_memory=2)
    watch = watching("cpu", first, second)
    assert watch.figures()["windows_per_s"] == 0
    for _ in range(3):
        watch.sample()
        first.windows += 100
    figures = watch.figures()
    (model,) = figures["models"]
    assert (model["windows"], model["batch"], model["limit"], model["out_of_memory"]) == (311, 5, 9, 2)
    assert figures["windows_per_s"] == model["windows_per_s"] > 0
    for _ in range(telemetry.RATE_SAMPLES):
        watch.sample()
    assert watch.figures()["windows_per_s"] == 0


@given(st.lists(st.integers(0, 1 << 40), max_size=telemetry.HISTORY))
def test_a_curve_is_short_and_keeps_the_peak(used):
    points = telemetry.curve(used)
    assert len(points) <= telemetry.CURVE_POINTS
    assert max(points, default=0) == max(used, default=0) // MIB


def test_a_started_one_answers_in_its_process_until_it_is_closed():
    watch = watching("cpu").start()
    try:
        wait_until(lambda: telemetry.gpu(None)["process_bytes"])
    finally:
        watch.close()
    assert "error" in telemetry.gpu(None)


def test_the_celery_client_knows_the_command():
    listed = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", "inspect", "--list"], cwd=ROOT, capture_output=True, text=True
    )
    assert "  gpu " in listed.stdout


@pytest.fixture
def port(monkeypatch):
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    monkeypatch.setenv("GENREMILL_WORKER_METRICS_PORT", str(port))
    return port


def test_prometheus_reads_the_figures(port, data_dir):
    counters = Counters(windows=70, batch=32, limit=64, out_of_memory=1, on_cpu=2)
    watch = watching("cuda:0", counters, library=FakeNvml(FakeGpu("GPU-a", used=GIB))).start()
    try:
        wait_until(lambda: watch.figures()["used_bytes"])
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    finally:
        watch.close()
    lines, model = page.splitlines(), '{dtype="bfloat16",model="musicnn",node="gpu0@host"}'
    assert 'genremill_gpu_memory_bytes{kind="used",node="gpu0@host"} 1.073741824e+09' in lines
    assert 'genremill_gpu_utilization_ratio{node="gpu0@host"} 0.5' in lines
    assert 'genremill_jobs_held{node="gpu0@host"} 3.0' in lines
    assert f"genremill_batch_windows{model} 32.0" in lines
    assert f"genremill_batch_limit_windows{model} 64.0" in lines
    assert f"genremill_windows_total{model} 70.0" in lines
    assert f"genremill_out_of_memory_total{model} 1.0" in lines
    assert f"genremill_cpu_fallback_windows_total{model} 2.0" in lines


def test_a_port_that_is_taken_is_a_warning(port, data_dir, caplog):
    with closing(socket.create_server(("127.0.0.1", port))):
        watching("cpu").start().close()
    assert "GENREMILL_METRICS_PORT" in caplog.text


def test_a_curve_of_blocks_is_drawn_from_the_bottom():
    assert gpu_view.draw([0, 1, 8, 16, 32], 32) == ["    █", "    █", "   ██", " ▁███"]


def on_terminal(found: dict) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(gpu_view.render(found, console.width))
    return capture.get()


def test_the_view_joins_a_gpu_with_its_worker():
    library = FakeNvml(FakeGpu("GPU-a", processes=[(os.getpid(), GIB), (1 << 30, NOT_AVAILABLE)]), FakeGpu("GPU-b"))
    watch = watching("cuda:0", Counters(windows=7, batch=5), library=library)
    watch.sample()
    watch.sample()
    gpus = [{**vars(gpu), **asdict(nvml.usage(gpu.uuid, library)), "curve": []} for gpu in nvml.gpus(library)]
    shown = on_terminal({"gpus": gpus, "workers": [watch.figures()]})
    assert shown.count("2048 MiB of 16384 MiB used, 14336 MiB free  50% busy") == 2
    assert f"{os.getpid()}  1024 MiB  gpu0@host" in shown
    assert f"{1 << 30}         ?  ?" in shown
    assert "musicnn" in shown
    assert "0 jobs" not in shown
    assert "1024 MiB |█" in shown
    assert watch.figures()["verdict"]["text"] in shown


def test_the_view_remembers_what_it_has_seen_of_a_gpu():
    gpu = FakeGpu("GPU-a", used=GIB)
    view = gpu_view.View(FakeNvml(gpu))
    view.look()
    gpu.used = 2 * GIB
    (found,) = view.look()["gpus"]
    assert (found["curve"], found["free_bytes"], found["index"]) == ([1024, 2048], 14 * GIB, 0)


def test_without_a_gpu_and_a_worker_the_view_says_so():
    assert on_terminal({"gpus": [], "workers": []}).split("\n")[:2] == [
        "no GPU can be used on this host",
        "no worker answered",
    ]
