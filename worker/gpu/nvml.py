"""What the NVIDIA driver tells about the GPUs of this host.

Nothing here fails where there is no driver, where there is no GPU, or where the driver does not know a figure: the
answer is then empty or None.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from worker.gpu.nvml_library import ComputeProcess, Handle, NvmlLibrary

Answer = TypeVar("Answer")

GPU_PREFIX = "GPU-"  # The UUID of a whole GPU begins with it.
MIG_PREFIX = "MIG-"  # The UUID of a MIG device, which is a part of a GPU, begins with it.
UNKNOWN_NAME = "GPU"  # What a GPU is called where the driver does not tell its name.


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a MIG device of one, that a worker can compute on."""

    index: int  # Its number among all of this host, in the driver's order.
    uuid: str  # "GPU-..." or "MIG-...".
    name: str
    total_bytes: int | None


@dataclass(frozen=True)
class Process:
    """A process that computes on a GPU."""

    pid: int
    used_bytes: int | None  # VRAM.
    name: str | None  # None where this host does not see the process, because it runs in another container.


@dataclass(frozen=True)
class Usage:
    """How a GPU is used at one moment. A figure is None where the driver does not tell it."""

    total_bytes: int | None = None
    used_bytes: int | None = None
    free_bytes: int | None = None
    utilization: float | None = None  # The part of the time in which it computes, 0 to 1; a MIG device has none.
    processes: tuple[Process, ...] = ()

    def used_by(self, pid: int) -> int | None:
        """Bytes of VRAM that the process with this id uses; None where the driver does not tell."""
        return next((process.used_bytes for process in self.processes if process.pid == pid), None)


@lru_cache
def load_library() -> NvmlLibrary | None:
    """pynvml, initialised for as long as this process lives; None where there is no driver."""
    import pynvml  # Imported late, because its C library comes with the driver, which most machines lack.

    library: NvmlLibrary = pynvml
    try:
        pynvml.nvmlInit()
    except library.NVMLError:
        return None
    return library


def list_gpus(library: NvmlLibrary | None = None, visible: str | None = None) -> list[Gpu]:
    """The GPUs that this process can compute on.

    A GPU in MIG mode is replaced by its MIG devices. Of all these, only those are listed that `visible` names, in the
    order in which it names them.

    library: pynvml, or an object of the same shape; pynvml where it is not given.
    visible: as CUDA_VISIBLE_DEVICES, whose value it has where it is not given.
    """
    library = library or load_library()
    if library is None:
        return []
    described = [_describe(library, index, handle) for index, handle in enumerate(_list_handles(library))]
    gpus = [gpu for gpu in described if gpu is not None]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
    return gpus if visible is None else _filter_visible(gpus, visible)


def own_gpu(library: NvmlLibrary | None = None) -> Gpu | None:
    """The GPU that a worker process computes on: the first one that it sees, "cuda:0" for torch. None without one."""
    return next(iter(list_gpus(library)), None)


def match_gpus(gpus: Sequence[Gpu], word: str) -> list[Gpu]:
    """The GPUs that a word may mean: a position in the list, a UUID, or the beginning of one."""
    if word.isdigit():
        return list(gpus[int(word) : int(word) + 1])
    return [gpu for gpu in gpus if word and gpu.uuid.startswith(word)]


def read_usage(uuid: str, library: NvmlLibrary | None = None) -> Usage:
    """How the GPU with this UUID is used now, and by which processes."""
    library = library or load_library()
    if library is None:
        return Usage()
    handle = _ask(library, library.nvmlDeviceGetHandleByUUID, uuid)
    if handle is None:
        return Usage()
    memory = _ask(library, library.nvmlDeviceGetMemoryInfo, handle)
    rates = None if uuid.startswith(MIG_PREFIX) else _ask(library, library.nvmlDeviceGetUtilizationRates, handle)
    running = _ask(library, library.nvmlDeviceGetComputeRunningProcesses, handle) or ()
    return Usage(
        total_bytes=memory.total if memory else None,
        used_bytes=memory.used if memory else None,
        free_bytes=memory.free if memory else None,
        utilization=rates.gpu / 100 if rates else None,
        processes=tuple(_describe_process(library, process) for process in running),
    )


def _filter_visible(gpus: list[Gpu], words: str) -> list[Gpu]:
    """The GPUs that the words name, as CUDA reads CUDA_VISIBLE_DEVICES.

    CUDA stops at the first word that names no GPU, several GPUs, or one that was named before.
    """
    visible: list[Gpu] = []
    for word in words.split(","):
        match match_gpus(gpus, word.strip()):
            case [gpu] if gpu not in visible:
                visible.append(gpu)
            case _:
                break
    return visible


def _list_handles(library: NvmlLibrary) -> list[Handle]:
    """The host's GPUs in the driver's order, each GPU in MIG mode replaced by its MIG devices."""
    handles: list[Handle] = []
    for index in range(_ask(library, library.nvmlDeviceGetCount) or 0):
        handle = _ask(library, library.nvmlDeviceGetHandleByIndex, index)
        if handle is not None:
            handles += _list_mig_devices(library, handle) if _is_in_mig_mode(library, handle) else [handle]
    return handles


def _is_in_mig_mode(library: NvmlLibrary, handle: Handle) -> bool:
    modes = _ask(library, library.nvmlDeviceGetMigMode, handle)  # The current mode, and the one after a restart.
    return modes is not None and modes[0] == library.NVML_DEVICE_MIG_ENABLE


def _list_mig_devices(library: NvmlLibrary, handle: Handle) -> list[Handle]:
    max_devices = _ask(library, library.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
    devices = (
        _ask(library, library.nvmlDeviceGetMigDeviceHandleByIndex, handle, index) for index in range(max_devices)
    )
    return [device for device in devices if device is not None]


def _describe(library: NvmlLibrary, index: int, handle: Handle) -> Gpu | None:
    """The GPU behind a handle; None where it has no UUID, by which alone a worker can be told to use it."""
    uuid = _ask(library, library.nvmlDeviceGetUUID, handle)
    if uuid is None:
        return None
    memory = _ask(library, library.nvmlDeviceGetMemoryInfo, handle)
    name = _ask(library, library.nvmlDeviceGetName, handle)
    return Gpu(index, uuid, name or UNKNOWN_NAME, memory.total if memory else None)


def _describe_process(library: NvmlLibrary, process: ComputeProcess) -> Process:
    used_bytes = process.usedGpuMemory
    if used_bytes == library.NVML_VALUE_NOT_AVAILABLE_ulonglong.value:
        used_bytes = None
    return Process(process.pid, used_bytes, _read_process_name(process.pid))


def _ask(library: NvmlLibrary, function: Callable[..., Answer], *arguments: object) -> Answer | None:
    """The library's answer, or None where it has none."""
    try:
        return function(*arguments)
    except library.NVMLError:
        return None


def _read_process_name(pid: int) -> str | None:
    """The name of a running process; None where this host does not see it (and on systems without /proc)."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return None
