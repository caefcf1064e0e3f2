"""What `genremill gpu` shows of GPUs and of the workers on them."""

import os
from dataclasses import asdict

import pytest
from rich.console import Console

from genremill import gpu_view
from tests.support.fake_nvml import GIB, FakeGpu, FakeNvml
from tests.unit.worker.monitoring.watching import watch
from worker.gpu import nvml
from worker.inference.batch_size import Counters

NOT_AVAILABLE = FakeNvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value
OTHER_PID = 1 << 30  # More than any process id that Linux gives.


@pytest.fixture(autouse=True)
def every_gpu_is_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def on_terminal(view: dict) -> str:
    """The text on a terminal of 100 columns."""
    console = Console(width=100)
    with console.capture() as capture:
        console.print(gpu_view.render(view, console.width))
    return capture.get()


def test_a_curve_of_blocks_is_drawn_from_the_bottom():
    assert gpu_view.draw([0, 1, 8, 16, 32], 32) == ["    █", "    █", "   ██", " ▁███"]


def test_the_view_joins_a_gpu_with_its_worker():
    library = FakeNvml(FakeGpu("GPU-a", processes=[(os.getpid(), GIB), (OTHER_PID, NOT_AVAILABLE)]), FakeGpu("GPU-b"))
    watched = watch("cuda:0", Counters(windows=7, batch=5), library=library)
    watched.sample()
    watched.sample()
    gpus = [{**vars(gpu), **asdict(nvml.read_usage(gpu.uuid, library)), "curve": []} for gpu in nvml.list_gpus(library)]
    shown = on_terminal({"gpus": gpus, "workers": [watched.figures()]})
    assert shown.count("2048 MiB of 16384 MiB used, 14336 MiB free  50% busy") == 2
    assert f"{os.getpid()}  1024 MiB  gpu0@host" in shown
    assert f"{OTHER_PID}         ?  ?" in shown
    assert shown.count("musicnn") == 1
    assert "0 jobs" not in shown
    assert "1024 MiB |█" in shown
    assert watched.figures()["verdict"]["text"] in shown


def test_a_worker_of_another_host_is_shown_with_its_own_device():
    library = FakeNvml(FakeGpu("GPU-a"))
    watched = watch("cuda:0", library=library)
    watched.sample()
    shown = on_terminal({"gpus": [], "workers": [watched.figures(), {**watch("cpu").figures(), "node": "cpu@far"}]})
    assert "gpu0@host  Fake GPU  2048 MiB of 16384 MiB used" in shown
    assert "cpu@far  CPU" in shown
    assert "? RAM; 3 jobs" in shown


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
