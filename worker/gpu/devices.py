"""Which device each worker process gets."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import settings
from settings import GenremillError
from worker.gpu import nvml
from worker.gpu.nvml import Gpu

ALLOCATOR = "expandable_segments:True"  # torch reserves half as much for batches of changing sizes


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
