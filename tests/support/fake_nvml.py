"""A simulated NVIDIA driver: an object of pynvml's shape with the GPUs that a test wants.

Machines without a GPU have no driver, so that pynvml has nothing to ask there. worker.gpu.nvml takes this in its place.
worker/gpu/nvml_library.py says what each function returns.
"""

import ctypes
from dataclasses import dataclass, field
from types import SimpleNamespace

GIB = 1 << 30  # Bytes.
TOTAL_BYTES = 16 * GIB  # Memory of every simulated GPU.


class NVMLError(Exception):
    """What pynvml raises where the driver has no answer."""


@dataclass
class FakeGpu:
    """A simulated GPU, or a MIG device of one. A field that is None is a question that the driver does not answer."""

    uuid: str
    mig: list["FakeGpu"] | None = None  # Its MIG devices; None where it is not in MIG mode.
    used: int = 2 * GIB  # Bytes of memory in use.
    busy: int | None = 50  # The part of the time in which it computes, in percent.
    processes: list[tuple[int, int | None]] | None = field(default_factory=list)  # Process ids, and bytes of each.


class FakeNvml:
    """What worker.gpu.nvml asks of pynvml. A FakeGpu is its own handle."""

    NVMLError = NVMLError
    NVML_DEVICE_MIG_ENABLE = 1
    NVML_VALUE_NOT_AVAILABLE_ulonglong = ctypes.c_ulonglong(-1)

    def __init__(self, *gpus: FakeGpu):
        self.gpus = gpus

    def nvmlDeviceGetCount(self):
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid):
        devices = [device for gpu in self.gpus for device in (gpu, *(gpu.mig or ()))]
        return given(next((device for device in devices if device.uuid == uuid), None))

    def nvmlDeviceGetUUID(self, gpu):
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu):
        return "Fake GPU"

    def nvmlDeviceGetMigMode(self, gpu):
        if gpu.mig is None:
            raise NVMLError("not supported")
        return [1, 1]  # The mode now, and the mode after a restart.

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu):
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu, index):
        return given(gpu.mig[index] if index < len(gpu.mig) else None)

    def nvmlDeviceGetMemoryInfo(self, gpu):
        return SimpleNamespace(total=TOTAL_BYTES, used=gpu.used, free=TOTAL_BYTES - gpu.used)

    def nvmlDeviceGetUtilizationRates(self, gpu):
        return SimpleNamespace(gpu=given(gpu.busy), memory=0)

    def nvmlDeviceGetComputeRunningProcesses(self, gpu):
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in given(gpu.processes)]


def given(value):
    """The value. Raises NVMLError where it is None, as pynvml does where the driver has no answer."""
    if value is None:
        raise NVMLError("not supported")
    return value
