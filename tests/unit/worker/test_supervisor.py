"""Which GPUs are worked on, and what becomes of workers that die."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import psutil
import pytest

import settings
from settings import GenremillError
from tests.conftest import wait_until
from tests.support.fake_nvml import FakeGpu, FakeNvml
from worker import exit_codes, supervisor
from worker.gpu import nvml
from worker.gpu.devices import choose_devices

THREE = FakeNvml(FakeGpu("GPU-aa1"), FakeGpu("GPU-aa2"), FakeGpu("GPU-b"))
SPLIT = FakeNvml(FakeGpu("GPU-a", mig=[FakeGpu("MIG-x"), FakeGpu("MIG-y")]), FakeGpu("GPU-b"), FakeGpu("GPU-c", mig=[]))


@pytest.fixture(autouse=True)
def every_gpu_is_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def uuids(wanted: str, library=THREE) -> list[str]:
    return [device.visible for device in choose_devices(wanted, nvml.gpus(library))]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("auto", ["GPU-aa1", "GPU-aa2", "GPU-b"]),
        ("cuda", ["GPU-aa1", "GPU-aa2", "GPU-b"]),
        ("cpu", [""]),
        ("cuda:2", ["GPU-b"]),
        ("cuda:2,0", ["GPU-b", "GPU-aa1"]),
        ("cuda:1,cuda:1", ["GPU-aa2"]),
        ("GPU-b", ["GPU-b"]),
        ("cuda:GPU-aa2,0, GPU-aa2", ["GPU-aa2", "GPU-aa1"]),
        ("2,GPU-b,cuda:GPU-b", ["GPU-b"]),
    ],
)
def test_gpus_are_chosen_by_number_and_by_uuid_each_once(wanted, chosen):
    assert uuids(wanted) == chosen


def test_a_gpu_in_mig_mode_is_replaced_by_its_mig_devices():
    devices = choose_devices("cuda", nvml.gpus(SPLIT))
    assert [device.visible for device in devices] == ["MIG-x", "MIG-y", "GPU-b"]
    assert [device.node for device in devices] == [f"gpu{index}@{settings.host()}" for index in range(3)]
    assert {device.torch_name for device in devices} == {"cuda:0"}
    assert uuids("MIG-y,2", SPLIT) == ["MIG-y", "GPU-b"]


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("", []),
        ("-1", []),
        ("2,0", ["GPU-b", "GPU-aa1"]),
        ("GPU-b,GPU-aa2", ["GPU-b", "GPU-aa2"]),
        ("1, GPU-b", ["GPU-aa2", "GPU-b"]),
        ("0,9,1", ["GPU-aa1"]),  # CUDA sees nothing behind what is not there
        ("GPU-aa", []),  # nor behind what may be two
    ],
)
def test_cuda_visible_devices_chooses_as_cuda_reads_it(monkeypatch, visible, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.uuid for gpu in nvml.gpus(THREE)] == seen


def test_numbers_count_visible_gpus_and_a_node_keeps_the_hosts_number(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,1")
    first, second = choose_devices("cuda:1,0", nvml.gpus(THREE))
    assert (first.visible, first.node, first.place) == ("GPU-aa2", f"gpu1@{settings.host()}", 0)
    assert (second.visible, second.node, second.place) == ("GPU-b", f"gpu2@{settings.host()}", 1)


def test_without_a_gpu_auto_is_the_cpu_and_no_driver_is_no_error():
    assert [device.torch_name for device in choose_devices("auto", [])] == ["cpu"]
    assert nvml.gpus(FakeNvml()) == []


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("cuda:3", "there is no GPU cuda:3: use one of cuda:0 (Fake GPU, GPU-aa1), cuda:1"),
        ("0,7", "there is no GPU cuda:7"),
        ("GPU-c", "there is no GPU GPU-c"),
        ("MIG-x", "there is no GPU MIG-x"),
        ("GPU-aa", "GPU-aa1 or GPU-aa2"),
        ("gpu", "use auto, cpu, cuda"),
        ("cuda:", "use auto, cpu, cuda"),
        ("", "use auto, cpu, cuda"),
        ("cpu,0", "use auto, cpu, cuda"),
    ],
)
def test_what_cannot_be_chosen_is_one_line_that_says_what_there_is(wanted, says):
    with pytest.raises(GenremillError) as raised:
        uuids(wanted)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_cuda_without_a_gpu_is_an_error():
    with pytest.raises(GenremillError, match="no GPU can be used here"):
        choose_devices("cuda", [])


@pytest.fixture
def workers_run(monkeypatch, processes):
    """Put little programs in the place of worker processes, which need a broker: one after the other, then the last."""

    def put(*programs: str) -> None:
        def start(device, *, log_level, stderr=None):
            program = programs[min(len(processes), len(programs) - 1)]
            processes.append(subprocess.Popen([sys.executable, "-c", program], start_new_session=True))
            return processes[-1]

        monkeypatch.setattr(supervisor, "start_worker", start)

    return put


def supervised() -> supervisor.WorkerProcess:
    return supervisor.WorkerProcess(choose_devices("cpu")[0], "INFO")


def test_a_worker_that_dies_is_started_again_after_growing_waits(workers_run, processes):
    workers_run("import sys; sys.exit(1)")
    worker, waits = supervised(), []
    for _ in range(len(supervisor.BACKOFF_S) + 1):
        worker.start_at = 0.0
        worker.poll()
        processes[-1].wait()
        assert worker.poll() is None
        assert worker.process is None
        waits.append(round(worker.start_at - time.monotonic()))
    assert waits == [*supervisor.BACKOFF_S, supervisor.BACKOFF_S[-1]]
    begun = len(processes)
    worker.poll()  # it is not due yet
    assert len(processes) == begun


def test_a_worker_that_was_healthy_is_started_again_at_once(workers_run, processes, monkeypatch):
    monkeypatch.setattr(supervisor, "HEALTHY_S", -1)
    workers_run("import sys; sys.exit(1)")
    worker = supervised()
    worker.poll()
    processes[-1].wait()
    worker.poll()
    worker.poll()
    assert len(processes) == 2


def test_a_worker_that_says_why_it_cannot_start_is_not_started_again(workers_run, processes):
    workers_run(f"import sys; sys.exit({exit_codes.SETUP_EXIT_CODE})")
    worker = supervised()
    worker.poll()
    processes[-1].wait()
    assert worker.poll() == exit_codes.SETUP_EXIT_CODE


@pytest.fixture
def signals_as_before():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_one_signal_stops_all_workers(workers_run, processes, signals_as_before):
    workers_run("import time; time.sleep(100)")
    devices = choose_devices("cuda", nvml.gpus(THREE))

    def interrupt() -> None:
        with suppress(AssertionError):
            wait_until(lambda: len(processes) == 3, timeout_s=10)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    assert supervisor.run_workers(devices, "INFO") == 0
    assert [process.returncode for process in processes] == [-signal.SIGTERM] * 3


def test_a_worker_that_cannot_start_stops_the_others(workers_run, processes, signals_as_before):
    workers_run("import time; time.sleep(100)", f"import sys; sys.exit({exit_codes.SETUP_EXIT_CODE})")
    assert supervisor.run_workers(choose_devices("0,1", nvml.gpus(THREE)), "INFO") == exit_codes.SETUP_EXIT_CODE
    assert processes[0].returncode == -signal.SIGTERM


def test_a_worker_process_is_pinned_before_it_begins(data_dir, monkeypatch, processes):
    monkeypatch.setenv("GENREMILL_METRICS_PORT", "9400")
    settings.load.cache_clear()
    device = choose_devices("GPU-b,GPU-aa1", nvml.gpus(THREE))[1]
    processes.append(supervisor.start_worker(device, log_level="INFO", stderr=subprocess.DEVNULL))
    environment = wait_until(lambda: _environment_of_celery(processes[0]))
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-aa1"
    assert environment["GENREMILL_WORKER_METRICS_PORT"] == "9401"


def _environment_of_celery(process: subprocess.Popen) -> dict | None:
    with suppress(psutil.Error):
        found = psutil.Process(process.pid)
        return found.environ() if "worker.celery_command" in found.cmdline() else None
