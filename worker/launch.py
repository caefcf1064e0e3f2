"""One pinned worker process per GPU, or one for the CPU. Starts them, restarts them, stops them."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import settings
from settings import GenremillError
from worker import nvml
from worker.celery import QUEUES
from worker.nvml import Gpu

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1
BACKOFF_S = (1, 2, 5, 10, 30)  # before a worker that died is started again; the last one repeats
HEALTHY_S = 60  # a worker that ran for so long starts again without a wait
STOP_S = 30  # a worker that has not stopped by then is killed
ALLOCATOR = "expandable_segments:True"  # torch reserves half as much for batches of changing sizes
SETUP_EXIT_CODE = 2  # a worker that says why it cannot start is not started again


@dataclass(frozen=True)
class Device:
    """What one worker process computes on."""

    node: str  # "gpu0@host"
    torch_name: str  # as the process sees it: "cpu" or "cuda:0"
    visible: str  # CUDA_VISIBLE_DEVICES: a UUID, or nothing
    gpu: Gpu | None = None
    place: int = 0  # among the devices of one launcher
    of: int = 1  # devices of that launcher, which share the host's cores

    @property
    def environment(self) -> dict[str, str]:
        """What torch reads when it is imported: it sees this device alone."""
        return {
            "CUDA_VISIBLE_DEVICES": self.visible,
            "PYTORCH_CUDA_ALLOC_CONF": os.environ.get("PYTORCH_CUDA_ALLOC_CONF", ALLOCATOR),
        }

    @property
    def cores(self) -> int:
        """Cores for its worker."""
        return max(1, settings.load().usable_cores // self.of)

    def __str__(self) -> str:
        size = f", {self.gpu.total_bytes / 2**30:.1f} GiB" if self.gpu and self.gpu.total_bytes else ""
        return f"{self.node} ({self.gpu.name}{size})" if self.gpu else self.node


def choose_devices(wanted: str, gpus: Sequence[Gpu] | None = None) -> list[Device]:
    """The devices for `auto`, `cpu`, `cuda`, or GPUs by number or UUID: `cuda:0,2`, `GPU-8f6b,MIG-41d5`.

    gpus: those of this host, where the caller knows them. Raises GenremillError when one is not there.
    """
    cpu = Device(f"cpu@{settings.host()}", "cpu", "")
    if wanted == "cpu":
        return [cpu]
    gpus = nvml.gpus() if gpus is None else gpus
    if wanted == "auto" and not gpus:
        return [cpu]
    chosen = gpus if wanted in ("auto", "cuda") else [_find_gpu(gpus, word, wanted) for word in wanted.split(",")]
    if not chosen:
        raise GenremillError(f"there is no GPU for the device {wanted!r}: {_say_gpus(gpus)}")
    distinct = list(dict.fromkeys(chosen))
    return [
        Device(f"gpu{gpu.index}@{settings.host()}", "cuda:0", gpu.uuid, gpu, place, len(distinct))
        for place, gpu in enumerate(distinct)
    ]


def _find_gpu(gpus: Sequence[Gpu], word: str, wanted: str) -> Gpu:
    name = word.strip().removeprefix("cuda:")
    if not name.isdigit() and not name.startswith(("GPU-", "MIG-")):
        raise GenremillError(
            f"there is no device {wanted!r}: use auto, cpu, cuda, cuda:0,2 or UUIDs (GPU-..., MIG-...)"
        )
    label = f"cuda:{name}" if name.isdigit() else name
    found = nvml.matching(gpus, name)
    if len(found) > 1:
        raise GenremillError(f"the GPU {label} may be {' or '.join(gpu.uuid for gpu in found)}: give more of its UUID")
    if not found:
        raise GenremillError(f"there is no GPU {label}: {_say_gpus(gpus)}")
    return found[0]


def _say_gpus(gpus: Sequence[Gpu]) -> str:
    if not gpus:
        return "no GPU can be used here (see nvidia-smi and CUDA_VISIBLE_DEVICES); use auto or cpu"
    return "use one of " + ", ".join(f"cuda:{place} ({gpu.name}, {gpu.uuid})" for place, gpu in enumerate(gpus))


def die_with_parent(number: int) -> None:
    """In a new process: have this signal sent when the parent dies, by whatever (Linux; elsewhere it does nothing)."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, number)


def start_worker(device: Device, *, log_level: str, stderr=None) -> subprocess.Popen:
    """The worker process of a device, in a process group of its own: a Ctrl-C reaches it through its parent alone."""
    command = [sys.executable, "-m", "celery", "-A", "worker", "worker", "--hostname", device.node]
    command += ["--queues", ",".join(QUEUES), "--loglevel", log_level, "--without-mingle", "--without-gossip"]
    port = settings.load().metrics_port
    environment = {
        **os.environ,
        **device.environment,
        "GENREMILL_WORKER_DEVICE": device.torch_name,
        "GENREMILL_WORKER_METRICS_PORT": str(port + device.place if port else 0),
        "GENREMILL_CORES": str(device.cores),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        command,
        env=environment,
        stdout=stderr,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM),
    )


@dataclass
class Supervised:
    """A worker process, started again with growing waits when it dies."""

    device: Device
    log_level: str
    log: object = None  # where its output goes; None: to the terminal
    process: subprocess.Popen | None = None
    deaths: int = 0
    started_at: float = 0.0
    start_at: float = field(default_factory=time.monotonic)

    def tend(self) -> int | None:
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
    workers = [Supervised(device, log_level) for device in devices]
    stop = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.append(True))
    try:
        while not stop:
            for worker in workers:
                code = worker.tend()
                if code is not None:
                    return code
            time.sleep(0.2)
        return 0
    finally:
        stop_all([worker.process for worker in workers if worker.process is not None])
