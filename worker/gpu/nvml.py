"""What the NVIDIA driver says of this host's GPUs. Nothing here fails where there is no driver, no GPU or no figure."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a MIG device of one, that can be worked on."""

    index: int  # among all of this host, in the driver's order
    uuid: str  # "GPU-..." or "MIG-..."
    name: str
    total_bytes: int | None


@dataclass(frozen=True)
class Process:
    """A process that computes on a GPU."""

    pid: int
    used_bytes: int | None
    name: str | None  # None where the process is not to be seen from here: in another container


@dataclass(frozen=True)
class Usage:
    """How a GPU is used now; None is what it does not say."""

    total_bytes: int | None = None
    used_bytes: int | None = None
    free_bytes: int | None = None
    utilization: float | None = None  # 0 to 1; a MIG device has none
    processes: tuple[Process, ...] = ()


@lru_cache
def load() -> Any | None:
    """pynvml, started for as long as this process lives; None where there is no driver."""
    import pynvml  # its library comes with the driver, which most machines lack

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def gpus(library: Any | None = None, visible: str | None = None) -> list[Gpu]:
    """What can be worked on: the host's GPUs, where one in MIG mode is replaced by its MIG devices; of these only what
    `visible` (default: CUDA_VISIBLE_DEVICES) names, in that order.

    library: pynvml, or what looks like it.
    """
    library = library or load()
    if library is None:
        return []
    found = [_describe(library, index, handle) for index, handle in enumerate(_handles(library))]
    usable = [gpu for gpu in found if gpu is not None]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
    return usable if visible is None else _visible(usable, visible)


def matching(gpus: Sequence[Gpu], word: str) -> list[Gpu]:
    """The GPUs that a number (a place in the list), a UUID or the beginning of one may mean."""
    if word.isdigit():
        return list(gpus[int(word) : int(word) + 1])
    return [gpu for gpu in gpus if word and gpu.uuid.startswith(word)]


def usage(uuid: str, library: Any | None = None) -> Usage:
    """How the GPU is used now, by whom."""
    library = library or load()
    handle = library and _ask(library, library.nvmlDeviceGetHandleByUUID, uuid)
    if handle is None:
        return Usage()
    memory = _ask(library, library.nvmlDeviceGetMemoryInfo, handle)
    rates = None if uuid.startswith("MIG-") else _ask(library, library.nvmlDeviceGetUtilizationRates, handle)
    running = _ask(library, library.nvmlDeviceGetComputeRunningProcesses, handle) or ()
    return Usage(
        memory and memory.total,
        memory and memory.used,
        memory and memory.free,
        rates and rates.gpu / 100,
        tuple(Process(one.pid, _known(library, one.usedGpuMemory), _name(one.pid)) for one in running),
    )


def _visible(gpus: list[Gpu], words: str) -> list[Gpu]:
    """As CUDA reads its variable: what stands behind a word that names no GPU, or several, is not seen."""
    seen: list[Gpu] = []
    for word in words.split(","):
        match matching(gpus, word.strip()):
            case [gpu] if gpu not in seen:
                seen.append(gpu)
            case _:
                break
    return seen


def _handles(library: Any) -> list[Any]:
    handles = []
    for index in range(_ask(library, library.nvmlDeviceGetCount) or 0):
        handle = _ask(library, library.nvmlDeviceGetHandleByIndex, index)
        if handle is not None:
            handles += _mig_devices(library, handle) if _in_mig_mode(library, handle) else [handle]
    return handles


def _in_mig_mode(library: Any, handle: Any) -> bool:
    modes = _ask(library, library.nvmlDeviceGetMigMode, handle)  # the current and the pending one
    return bool(modes) and modes[0] == library.NVML_DEVICE_MIG_ENABLE


def _mig_devices(library: Any, handle: Any) -> list[Any]:
    most = _ask(library, library.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
    devices = (_ask(library, library.nvmlDeviceGetMigDeviceHandleByIndex, handle, index) for index in range(most))
    return [device for device in devices if device is not None]


def _describe(library: Any, index: int, handle: Any) -> Gpu | None:
    uuid = _ask(library, library.nvmlDeviceGetUUID, handle)
    if uuid is None:
        return None
    memory = _ask(library, library.nvmlDeviceGetMemoryInfo, handle)
    name = _ask(library, library.nvmlDeviceGetName, handle)
    return Gpu(index, uuid, name or "GPU", memory and memory.total)


def _ask(library: Any, function: Callable[..., Any], *arguments: Any) -> Any | None:
    """The driver's answer, or None where it has none."""
    try:
        return function(*arguments)
    except library.NVMLError:
        return None


def _known(library: Any, value: int | None) -> int | None:
    return None if value is None or value == library.NVML_VALUE_NOT_AVAILABLE_ulonglong.value else value


def _name(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return None
