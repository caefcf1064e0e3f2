"""One pinned worker process per GPU, or one for the CPU. Starts them, restarts them, stops them."""

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import settings
from worker.celery import QUEUES
from worker.exit_codes import SETUP_EXIT_CODE
from worker.gpu.devices import Device
from worker.python_process import python_command, python_environment

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1
BACKOFF_S = (1, 2, 5, 10, 30)  # before a worker that died is started again; the last one repeats
HEALTHY_S = 60  # a worker that ran for so long starts again without a wait
STOP_S = 30  # a worker that has not stopped by then is killed


def die_with_parent(number: int) -> None:
    """In a new process: have this signal sent when the parent dies, by whatever (Linux; elsewhere it does nothing)."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, number)


def start_worker(device: Device, *, log_level: str, stderr=None) -> subprocess.Popen:
    """The worker process of a device, in a process group of its own: a Ctrl-C reaches it through its parent alone."""
    command = python_command("worker.celery_command", "worker", "--hostname", device.node)
    command += ["--queues", ",".join(QUEUES), "--loglevel", log_level, "--without-mingle", "--without-gossip"]
    port = settings.load().metrics_port
    environment = python_environment(
        **device.environment,
        GENREMILL_WORKER_DEVICE=device.torch_name,
        GENREMILL_WORKER_METRICS_PORT=str(port + device.place if port else 0),
        GENREMILL_CORES=str(device.cores),
        OMP_NUM_THREADS="1",
        MKL_NUM_THREADS="1",
    )
    return subprocess.Popen(
        command,
        env=environment,
        stdout=stderr,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM),
    )


@dataclass
class WorkerProcess:
    """A worker process, started again with growing waits when it dies."""

    device: Device
    log_level: str
    log: object = None  # where its output goes; None: to the terminal
    process: subprocess.Popen | None = None
    deaths: int = 0
    started_at: float = 0.0
    start_at: float = field(default_factory=time.monotonic)

    def poll(self) -> int | None:
        """Start the process where it is due. Returns an exit code that says that starting again is no use."""
        if self.process is None:
            if time.monotonic() >= self.start_at:
                self.started_at = time.monotonic()
                self.process = start_worker(self.device, log_level=self.log_level, stderr=self.log)
            return None
        code = self.process.poll()
        if code is None:
            return None
        self.process = None
        if code == SETUP_EXIT_CODE:
            return code
        self.deaths = 0 if time.monotonic() - self.started_at > HEALTHY_S else self.deaths + 1
        self.start_at = time.monotonic() + (BACKOFF_S[min(self.deaths, len(BACKOFF_S)) - 1] if self.deaths else 0)
        return None


def stop_all(processes: Sequence[subprocess.Popen], timeout_s: float = STOP_S) -> None:
    """Ask them to stop, all at once; kill what has not by then."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_workers(devices: Sequence[Device], log_level: str) -> int:
    """Run this host's workers until a signal stops them. Returns the exit code."""
    workers = [WorkerProcess(device, log_level) for device in devices]
    stop = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.append(True))
    try:
        while not stop:
            for worker in workers:
                code = worker.poll()
                if code is not None:
                    return code
            time.sleep(0.2)
        return 0
    finally:
        stop_all([worker.process for worker in workers if worker.process is not None])
