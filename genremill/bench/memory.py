"""How much memory this process and its GPU use, and samples of that while something runs."""

import os
import threading
from types import TracebackType
from typing import Self

import torch

from worker.gpu import nvml
from worker.monitoring.memory_trend import MIB
from worker.monitoring.resident_memory import resident_bytes

SAMPLE_INTERVAL_S = 0.01  # Seconds between two samples of a MemorySampler.


def resident_mib() -> float:
    """Resident memory of this process in MiB."""
    return resident_bytes() / MIB


def used_mib(device: str) -> float:
    """VRAM in MiB that this process has reserved for tensors, or without a GPU its resident memory."""
    return resident_mib() if device == "cpu" else torch.cuda.memory_reserved(device) / MIB


def peak_mib(device: str) -> float:
    """The most VRAM in MiB that was reserved for tensors since reset_peak(), or without a GPU resident memory now."""
    return resident_mib() if device == "cpu" else torch.cuda.max_memory_reserved(device) / MIB


def driver_vram_mib(device: str) -> float | None:
    """VRAM in MiB of this process as the driver counts it: with torch's own, and with what other libraries use.

    Where the driver does not tell processes apart it is that of all processes. None without a GPU.
    """
    if device == "cpu":
        return None
    gpu = nvml.own_gpu()
    own_bytes = nvml.read_usage(gpu.uuid).used_by(os.getpid()) if gpu else None
    if own_bytes:
        return own_bytes / MIB
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    return (total_bytes - free_bytes) / MIB


def reset_peak(device: str) -> None:
    """Give unused VRAM back, and let peak_mib() begin anew. Without a GPU this does nothing."""
    if device != "cpu":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


class MemorySampler:
    """Samples used_mib() in a thread while a with-block runs."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._samples_mib: list[float] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    @property
    def mean_mib(self) -> float:
        """The mean of the samples."""
        return sum(self._samples_mib) / len(self._samples_mib)

    @property
    def peak_mib(self) -> float:
        """The greatest sample; on a GPU at least torch's own peak since reset_peak(), which misses nothing."""
        return max(*self._samples_mib, peak_mib(self._device))

    def _sample(self) -> None:
        """Take samples until the block has ended, and one after its end."""
        stopped = False
        while not stopped:
            self._samples_mib.append(used_mib(self._device))
            stopped = self._stopped.wait(SAMPLE_INTERVAL_S)
