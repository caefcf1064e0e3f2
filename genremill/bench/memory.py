"""How much memory the process and the card use, sampled while something runs."""

import os
import resource
import threading
from pathlib import Path

import torch

from worker.gpu import nvml

MIB = 1 << 20
EVERY_S = 0.01


def resident_mib() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MIB


def taken_mib(device: str) -> float:
    """VRAM that this process has reserved for tensors; without a GPU its resident memory."""
    return resident_mib() if device == "cpu" else torch.cuda.memory_reserved(device) / MIB


def peak_mib(device: str) -> float:
    """The most VRAM that this process had reserved since forget(); without a GPU its resident memory now."""
    return resident_mib() if device == "cpu" else torch.cuda.max_memory_reserved(device) / MIB


def vram_mib(device: str) -> float | None:
    """VRAM of this process as the driver counts it; of the whole card where the driver does not tell processes apart;
    None without a GPU."""
    if device == "cpu":
        return None
    (gpu, *_) = nvml.gpus() or [None]
    usage = nvml.usage(gpu.uuid) if gpu else nvml.Usage()
    own = next((process.used_bytes for process in usage.processes if process.pid == os.getpid()), None)
    free, total = torch.cuda.mem_get_info(device)
    return (own or total - free) / MIB


def forget(device: str) -> None:
    """Give unused VRAM back, and begin a new peak."""
    if device != "cpu":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


class Meter:
    """Samples taken_mib() while a with-block runs."""

    def __init__(self, device: str):
        self._device = device
        self._samples_mib: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)

    def __enter__(self) -> "Meter":
        self._thread.start()
        return self

    def __exit__(self, *_exc) -> None:
        self._over.set()
        self._thread.join()

    @property
    def mean_mib(self) -> float:
        """Of the samples."""
        return sum(self._samples_mib) / len(self._samples_mib)

    @property
    def peak_mib(self) -> float:
        """On a GPU since forget(), on a CPU of the samples."""
        return max(*self._samples_mib, peak_mib(self._device))

    def _sample(self) -> None:
        over = False
        while not over:
            self._samples_mib.append(taken_mib(self._device))
            over = self._over.wait(EVERY_S)
