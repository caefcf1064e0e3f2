"""One worker process per GPU, or one for the CPU, each pinned to its device: started, started again, stopped."""

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import IO, Protocol

import settings
from worker.celery import QUEUES
from worker.exit_codes import SETUP_EXIT_CODE
from worker.gpu.devices import Device
from worker.python_process import python_command, python_environment

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # The C library of this process.
PR_SET_PDEATHSIG = 1  # prctl(2): the signal that the kernel sends to this process when its parent dies.
RESTART_DELAYS_S = (1, 2, 5, 10, 30)  # Seconds before a worker starts again, by its early deaths in a row.
HEALTHY_S = 60  # Seconds after which a worker that dies did not die early: it is started again at once.
STOP_TIMEOUT_S = 30  # Seconds that processes have to stop before they are killed.
POLL_INTERVAL_S = 0.2  # Seconds between two looks whether a worker has died.


def die_with_parent(signal_number: int) -> None:
    """Make the kernel send this signal to the calling process when its parent dies, whatever the parent dies of.

    Call it in a new process, as preexec_fn of subprocess.Popen. It does something on Linux alone.
    """
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal_number)


def start_worker(device: Device, log_level: str, output: IO[bytes] | int | None = None) -> subprocess.Popen[bytes]:
    """Start the worker process of a device, in a session of its own: Ctrl-C reaches it through this process alone.

    log_level: of the worker's log, such as "INFO".
    output: where the worker's stdout and stderr go. None: where those of this process go.
    """
    command = python_command("worker.celery_command", "worker", "--hostname", device.node)
    command += ["--queues", ",".join(QUEUES), "--loglevel", log_level, "--without-mingle", "--without-gossip"]
    metrics_port = settings.load().metrics_port
    environment = python_environment(
        **device.environment,
        GENREMILL_WORKER_DEVICE=device.torch_name,
        GENREMILL_WORKER_METRICS_PORT=str(metrics_port + device.worker_index if metrics_port else 0),
        GENREMILL_CORES=str(device.cores),
        OMP_NUM_THREADS="1",
        MKL_NUM_THREADS="1",
    )
    return subprocess.Popen(
        command,
        env=environment,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM),
    )


class StartWorker(Protocol):
    """What starts the worker process of a device: start_worker()."""

    def __call__(self, device: Device, log_level: str, output: IO[bytes] | None) -> subprocess.Popen[bytes]: ...


def restart_delay_s(early_deaths: int) -> float:
    """Seconds to wait before a worker is started again that died early so many times in a row."""
    if early_deaths == 0:
        return 0.0
    return RESTART_DELAYS_S[min(early_deaths, len(RESTART_DELAYS_S)) - 1]


class WorkerProcess:
    """The worker process of a device. It is started again when it dies, after growing delays when it dies early.

    log_level, output: see start_worker().
    start: starts the process.
    """

    def __init__(
        self, device: Device, log_level: str, output: IO[bytes] | None = None, start: StartWorker = start_worker
    ) -> None:
        self.device = device
        self.process: subprocess.Popen[bytes] | None = None  # None before the first start, and after a death.
        self.early_deaths = 0  # Deaths in a row, each within HEALTHY_S of the start.
        self.started_at = 0.0  # In time.monotonic(), as is start_at.
        self.start_at = 0.0  # When the process is to be started; 0: at once.
        self._log_level, self._output, self._start = log_level, output, start

    def poll(self) -> int | None:
        """Start the process if it is due, and take note of its death. Call it several times a second.

        Returns SETUP_EXIT_CODE when the process has ended with it: starting it again would be no use. Otherwise None.
        """
        if self.process is None:
            if time.monotonic() >= self.start_at:
                self.started_at = time.monotonic()
                self.process = self._start(self.device, self._log_level, self._output)
            return None
        exit_code = self.process.poll()
        if exit_code is None:
            return None
        self.process = None
        if exit_code == SETUP_EXIT_CODE:
            return exit_code
        self._schedule_restart()
        return None

    def _schedule_restart(self) -> None:
        moment = time.monotonic()
        self.early_deaths = 0 if moment - self.started_at > HEALTHY_S else self.early_deaths + 1
        self.start_at = moment + restart_delay_s(self.early_deaths)


def stop_all(processes: Sequence[subprocess.Popen[bytes]], timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Send SIGTERM to all processes at once, wait until they have ended, and kill those that have not in time."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_workers(devices: Sequence[Device], log_level: str, start: StartWorker = start_worker) -> int:
    """Run a worker process for each device until SIGINT or SIGTERM, or until one of them says that it cannot work here.

    Returns the exit code: 0 after a signal, or SETUP_EXIT_CODE. Call it in the main thread.
    """
    workers = [WorkerProcess(device, log_level, start=start) for device in devices]
    signals_received: list[int] = []  # A list: setting a threading.Event in a signal handler can deadlock with wait().
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: signals_received.append(received))
    try:
        while not signals_received:
            for worker in workers:
                exit_code = worker.poll()
                if exit_code is not None:
                    return exit_code
            time.sleep(POLL_INTERVAL_S)
        return 0
    finally:
        stop_all([worker.process for worker in workers if worker.process is not None])
