"""A driver's library, in the shape of pynvml, with the GPUs that a test wants: there is none where tests run."""

import ctypes
from dataclasses import dataclass, field
from types import SimpleNamespace

GIB = 1 << 30


class NVMLError(Exception):
    """The library has no answer."""


@dataclass
class FakeGpu:
    """A GPU, or a MIG device. processes: (pid, bytes or None)."""

    uuid: str
    mig: list["FakeGpu"] | None = None  # None: not in MIG mode
    used: int = 2 * GIB
    busy: int | None = 50
    processes: list | None = field(default_factory=list)


class FakeNvml:
    """What worker.gpu.nvml asks of pynvml."""

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
        every = [device for gpu in self.gpus for device in (gpu, *(gpu.mig or ()))]
        return given(next((device for device in every if device.uuid == uuid), None))

    def nvmlDeviceGetUUID(self, gpu):
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu):
        return "Fake GPU"

    def nvmlDeviceGetMigMode(self, gpu):
        if gpu.mig is None:
            raise NVMLError("not supported")
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu):
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu, index):
        return given(gpu.mig[index] if index < len(gpu.mig) else None)

    def nvmlDeviceGetMemoryInfo(self, gpu):
        return SimpleNamespace(total=16 * GIB, used=gpu.used, free=16 * GIB - gpu.used)

    def nvmlDeviceGetUtilizationRates(self, gpu):
        return SimpleNamespace(gpu=given(gpu.busy), memory=0)

    def nvmlDeviceGetComputeRunningProcesses(self, gpu):
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in given(gpu.processes)]


def given(value):
    """The value; NVMLError where there is none."""
    if value is None:
        raise NVMLError("not supported")
    return value
