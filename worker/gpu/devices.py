"""Which device each worker process computes on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import settings
from settings import GenremillError
from worker.gpu import nvml
from worker.gpu.nvml import Gpu

# How torch's allocator reserves VRAM: in segments that grow. For batches of changing sizes that takes half as much.
ALLOCATOR_CONFIG = "expandable_segments:True"


@dataclass(frozen=True)
class Device:
    """What one worker process computes on."""

    node: str  # The worker's Celery node name, "gpu0@host" or "cpu@host".
    torch_name: str  # As the worker process names it: "cpu" or "cuda:0".
    visible: str  # CUDA_VISIBLE_DEVICES of the worker process: the UUID of its GPU, or nothing.
    gpu: Gpu | None = None
    worker_index: int = 0  # The worker's number among those that are started together on this host.
    worker_count: int = 1  # How many workers are started together; they share the host's cores.

    @property
    def environment(self) -> dict[str, str]:
        """The variables that torch reads when it is imported. With them it sees this device alone."""
        return {
            "CUDA_VISIBLE_DEVICES": self.visible,
            "PYTORCH_CUDA_ALLOC_CONF": os.environ.get("PYTORCH_CUDA_ALLOC_CONF", ALLOCATOR_CONFIG),
        }

    @property
    def cores(self) -> int:
        """CPU cores for this worker: an equal share of those that all workers may use, and at least one."""
        return max(1, settings.load().usable_cores // self.worker_count)

    def __str__(self) -> str:
        size = f", {self.gpu.total_bytes / 2**30:.1f} GiB" if self.gpu and self.gpu.total_bytes else ""
        return f"{self.node} ({self.gpu.name}{size})" if self.gpu else self.node


def choose_devices(selection: str, gpus: Sequence[Gpu] | None = None) -> list[Device]:
    """The devices to start workers for, each once.

    selection: `auto` (all GPUs, or the CPU where there is none), `cpu`, `cuda` (all GPUs), or some GPUs by number or
    UUID: `cuda:0,2` or `GPU-8f6b,MIG-41d5`.
    gpus: the GPUs of this host; asked of the driver where they are not given.
    Raises GenremillError where a GPU that was asked for is not there.
    """
    cpu = Device(f"cpu@{settings.host()}", "cpu", "")
    if selection == "cpu":
        return [cpu]
    gpus = nvml.list_gpus() if gpus is None else gpus
    if selection == "auto" and not gpus:
        return [cpu]
    if selection in ("auto", "cuda"):
        chosen = list(gpus)
    else:
        chosen = [_find_gpu(gpus, word, selection) for word in selection.split(",")]
    if not chosen:
        raise GenremillError(f"there is no GPU for the device {selection!r}: {_suggest_gpus(gpus)}")
    distinct = list(dict.fromkeys(chosen))
    return [
        Device(f"gpu{gpu.index}@{settings.host()}", "cuda:0", gpu.uuid, gpu, index, len(distinct))
        for index, gpu in enumerate(distinct)
    ]


def _find_gpu(gpus: Sequence[Gpu], word: str, selection: str) -> Gpu:
    """The one GPU that a word of the selection means. Raises GenremillError where there is none, or more than one."""
    name = word.strip().removeprefix("cuda:")
    if not name.isdigit() and not name.startswith((nvml.GPU_PREFIX, nvml.MIG_PREFIX)):
        raise GenremillError(
            f"there is no device {selection!r}: use auto, cpu, cuda, cuda:0,2 or UUIDs (GPU-..., MIG-...)"
        )
    label = f"cuda:{name}" if name.isdigit() else name
    matches = nvml.match_gpus(gpus, name)
    if len(matches) > 1:
        raise GenremillError(
            f"the GPU {label} may be {' or '.join(gpu.uuid for gpu in matches)}: give more of its UUID"
        )
    if not matches:
        raise GenremillError(f"there is no GPU {label}: {_suggest_gpus(gpus)}")
    return matches[0]


def _suggest_gpus(gpus: Sequence[Gpu]) -> str:
    """What a message proposes to use instead."""
    if not gpus:
        return "no GPU can be used here (see nvidia-smi and CUDA_VISIBLE_DEVICES); use auto or cpu"
    return "use one of " + ", ".join(f"cuda:{index} ({gpu.name}, {gpu.uuid})" for index, gpu in enumerate(gpus))
