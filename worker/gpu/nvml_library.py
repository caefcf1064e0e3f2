"""The part of pynvml that worker.gpu.nvml uses, as types: pynvml has none of its own.

The functions are those of NVIDIA's Management Library (NVML). Each of them raises NVMLError where the driver has no
answer. Tests pass an object of this shape in the place of pynvml.
"""

# ruff: noqa: N802, N815 (pynvml has the names of the C library)

from collections.abc import Sequence
from typing import Protocol

Handle = object  # A pointer to a GPU or to a MIG device, which only the library can read.


class MemoryInfo(Protocol):
    """The memory of a GPU, in bytes."""

    total: int
    used: int
    free: int


class UtilizationRates(Protocol):
    """How busy a GPU was during the last moments."""

    gpu: int  # The part of the time in which it computed, in percent.


class ComputeProcess(Protocol):
    """A process that computes on a GPU."""

    pid: int
    usedGpuMemory: int | None  # In bytes; None or NVML_VALUE_NOT_AVAILABLE where the driver does not know it.


class UnsignedLong(Protocol):
    """A number of ctypes."""

    value: int


class NvmlLibrary(Protocol):
    """What worker.gpu.nvml asks of pynvml."""

    @property
    def NVMLError(self) -> type[Exception]: ...
    @property
    def NVML_DEVICE_MIG_ENABLE(self) -> int: ...
    @property
    def NVML_VALUE_NOT_AVAILABLE_ulonglong(self) -> UnsignedLong: ...

    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> Handle: ...
    def nvmlDeviceGetHandleByUUID(self, uuid: str, /) -> Handle: ...
    def nvmlDeviceGetUUID(self, handle: Handle, /) -> str: ...
    def nvmlDeviceGetName(self, handle: Handle, /) -> str: ...
    def nvmlDeviceGetMigMode(self, handle: Handle, /) -> Sequence[int]: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Handle, /) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Handle, index: int, /) -> Handle: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Handle, /) -> MemoryInfo: ...
    def nvmlDeviceGetUtilizationRates(self, handle: Handle, /) -> UtilizationRates: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Handle, /) -> Sequence[ComputeProcess]: ...
