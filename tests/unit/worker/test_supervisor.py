"""How worker processes are started, started again when they die, and stopped."""

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
from tests.conftest import wait_until
from tests.support.fake_nvml import FakeGpu, FakeNvml
from tests.support.paths import ROOT
from worker import exit_codes, supervisor
from worker.gpu import nvml
from worker.gpu.devices import choose_devices

THREE = FakeNvml(FakeGpu("GPU-aa1"), FakeGpu("GPU-aa2"), FakeGpu("GPU-b"))


@pytest.fixture(autouse=True)
def every_gpu_is_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def programs(processes):
    """Makes what starts little programs in the place of worker processes, which need a broker.

    Each start takes the next program; the last one is for all further starts.
    """

    def make(*sources: str) -> supervisor.StartWorker:
        def start(device, log_level, output):
            source = sources[min(len(processes), len(sources) - 1)]
            processes.append(subprocess.Popen([sys.executable, "-c", source], start_new_session=True))
            return processes[-1]

        return start

    return make


def exits_with(code: int) -> str:
    return f"import sys; sys.exit({code})"


SLEEPS = "import time; time.sleep(100)"


def cpu_worker(start: supervisor.StartWorker) -> supervisor.WorkerProcess:
    return supervisor.WorkerProcess(choose_devices("cpu")[0], "INFO", start=start)


@pytest.mark.parametrize(
    ("early_deaths", "delay_s"), [(0, 0), (1, 1), (2, 2), (3, 5), (4, 10), (5, 30), (6, 30), (1000, 30)]
)
def test_the_delay_grows_with_every_early_death_up_to_half_a_minute(early_deaths, delay_s):
    assert supervisor.restart_delay_s(early_deaths) == delay_s


def test_a_worker_that_dies_is_started_again_after_growing_delays(programs, processes):
    worker, delays_s = cpu_worker(programs(exits_with(1))), []
    for _ in range(6):
        worker.start_at = 0.0
        assert worker.poll() is None
        processes[-1].wait()
        assert worker.poll() is None
        assert worker.process is None
        delays_s.append(worker.start_at - time.monotonic())
    assert delays_s == pytest.approx([1, 2, 5, 10, 30, 30], abs=0.5)
    worker.poll()  # It is not due yet.
    assert len(processes) == 6
    worker.start_at = time.monotonic()
    worker.poll()
    assert len(processes) == 7


def test_a_worker_that_lives_is_left_alone(programs, processes):
    worker = cpu_worker(programs(SLEEPS))
    for _ in range(3):
        assert worker.poll() is None
    assert worker.process is processes[0]
    assert len(processes) == 1


def test_a_worker_that_was_healthy_is_started_again_at_once(programs, processes):
    worker = cpu_worker(programs(exits_with(1)))
    worker.early_deaths = 3
    worker.poll()
    processes[-1].wait()
    worker.started_at -= supervisor.HEALTHY_S + 1
    worker.poll()
    assert worker.early_deaths == 0
    worker.poll()
    assert len(processes) == 2


def test_a_worker_that_says_why_it_cannot_start_is_not_started_again(programs, processes):
    worker = cpu_worker(programs(exits_with(exit_codes.SETUP_EXIT_CODE)))
    worker.poll()
    processes[-1].wait()
    assert worker.poll() == exit_codes.SETUP_EXIT_CODE


def test_a_process_that_does_not_stop_in_time_is_killed(processes):
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(100)"
    processes += [
        subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE)
        for source in (stubborn, f"print(flush=True); {SLEEPS}")
    ]
    for process in processes:
        process.stdout.readline()
    supervisor.stop_all(processes, timeout_s=1.0)
    assert [process.returncode for process in processes] == [-signal.SIGKILL, -signal.SIGTERM]
    for process in processes:
        process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sends a signal at the death of a parent")
def test_a_process_dies_with_its_parent_even_when_that_is_killed(processes):
    parent = f"""
import signal, subprocess, sys, time
from worker.supervisor import die_with_parent
child = subprocess.Popen([sys.executable, "-c", {SLEEPS!r}], preexec_fn=lambda: die_with_parent(signal.SIGTERM))
print(child.pid, flush=True)
time.sleep(100)
"""
    processes.append(subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True))
    child = psutil.Process(int(processes[0].stdout.readline()))
    processes[0].kill()
    processes[0].stdout.close()
    child.wait(timeout=10)


@pytest.fixture
def signals_as_before():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_all_workers(programs, processes, signals_as_before, number):
    devices = choose_devices("cuda", nvml.list_gpus(THREE))

    def interrupt() -> None:
        with suppress(AssertionError):
            wait_until(lambda: len(processes) == 3, timeout_s=10)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt).start()
    assert supervisor.run_workers(devices, "INFO", programs(SLEEPS)) == 0
    assert [process.returncode for process in processes] == [-signal.SIGTERM] * 3


def test_a_worker_that_cannot_start_stops_the_others(programs, processes, signals_as_before):
    devices, start = choose_devices("0,1", nvml.list_gpus(THREE)), programs(SLEEPS, exits_with(2))
    assert supervisor.run_workers(devices, "INFO", start) == exit_codes.SETUP_EXIT_CODE == 2
    assert processes[0].returncode == -signal.SIGTERM


def test_a_worker_process_is_pinned_before_it_begins(data_dir, monkeypatch, processes):
    monkeypatch.setenv("GENREMILL_METRICS_PORT", "9400")
    settings.load.cache_clear()
    device = choose_devices("GPU-b,GPU-aa1", nvml.list_gpus(THREE))[1]
    processes.append(supervisor.start_worker(device, "INFO", subprocess.DEVNULL))
    environment = wait_until(lambda: _environment_of_celery(processes[0]))
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-aa1"
    assert environment["GENREMILL_WORKER_METRICS_PORT"] == "9401"


def _environment_of_celery(process: subprocess.Popen) -> dict | None:
    with suppress(psutil.Error):
        found = psutil.Process(process.pid)
        return found.environ() if "worker.celery_command" in found.cmdline() else None
