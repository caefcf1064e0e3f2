"""Prometheus reads the figures of a worker that has a port for it."""

import socket
import urllib.request
from contextlib import closing

import pytest

from tests.conftest import wait_until
from tests.support.fake_nvml import GIB, FakeGpu, FakeNvml
from tests.unit.worker.monitoring.watching import watch
from worker.inference.batch_size import Counters


@pytest.fixture
def port(monkeypatch):
    """A free port, which the supervisor has given to this process."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    monkeypatch.setenv("GENREMILL_WORKER_METRICS_PORT", str(port))
    return port


def read_metrics(watched, port: int) -> list[str]:
    """The lines that Prometheus gets of a worker after its first sample."""
    watched.start()
    try:
        wait_until(lambda: watched.figures()["process_bytes"] is not None)
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode().splitlines()
    finally:
        watched.close()


def test_prometheus_reads_the_figures_of_a_gpu(port, data_dir):
    counters = Counters(windows=70, batch=32, limit=64, out_of_memory=1, on_cpu=2)
    lines = read_metrics(watch("cuda:0", counters, library=FakeNvml(FakeGpu("GPU-a", used=GIB))), port)
    model = '{dtype="bfloat16",model="musicnn",node="gpu0@host"}'
    assert 'genremill_gpu_memory_bytes{kind="total",node="gpu0@host"} 1.7179869184e+10' in lines
    assert 'genremill_gpu_memory_bytes{kind="used",node="gpu0@host"} 1.073741824e+09' in lines
    assert 'genremill_gpu_memory_bytes{kind="reserved",node="gpu0@host"} 0.0' in lines
    assert 'genremill_gpu_utilization_ratio{node="gpu0@host"} 0.5' in lines
    assert 'genremill_jobs_held{node="gpu0@host"} 3.0' in lines
    assert f"genremill_batch_windows{model} 32.0" in lines
    assert f"genremill_batch_limit_windows{model} 64.0" in lines
    assert f"genremill_windows_total{model} 70.0" in lines
    assert f"genremill_out_of_memory_total{model} 1.0" in lines
    assert f"genremill_cpu_fallback_windows_total{model} 2.0" in lines


def test_what_a_cpu_does_not_tell_is_left_out(port, data_dir):
    lines = read_metrics(watch("cpu", Counters(windows=70)), port)
    assert 'genremill_jobs_held{node="gpu0@host"} 3.0' in lines
    values = [line for line in lines if line.startswith("genremill_gpu_")]
    assert values == []


def test_a_port_that_is_taken_is_a_warning(port, data_dir, caplog):
    with closing(socket.create_server(("127.0.0.1", port))):
        watch("cpu").start().close()
    assert "GENREMILL_METRICS_PORT" in caplog.text
