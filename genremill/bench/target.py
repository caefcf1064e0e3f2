"""What is measured: a model on a device in a number format. And the machine that it is measured on."""

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

import torch

import settings
from genremill.bench import random_weights
from settings import GenremillError
from worker.inference.engine import Engine
from worker.models import checkpoints
from worker.models.checkpoints import Model
from worker.monitoring.memory_trend import MIB
from worker.windowing import REGIONS

PRECISION_LABELS = {"float32": "fp32", "bfloat16": "AMP bf16", "float16": "AMP fp16"}  # By Model.dtype, for tables.


@dataclass(frozen=True)
class Target:
    """A device, and how a model computes on it."""

    device: str  # "cpu" or "cuda:0", as torch calls it.
    amp: str = "off"  # See worker.models.precision.

    @property
    def device_kind(self) -> str:
        """GPU or CPU."""
        return "CPU" if self.device == "cpu" else "GPU"

    def __str__(self) -> str:
        return self.device_kind if self.amp == "off" else f"{self.device_kind} with AMP"


class Machine(TypedDict):
    """The machine that figures were measured on, as `genremill bench --json` prints it."""

    gpu: str | None
    vram_mib: int | None
    cpu: str
    cores: int  # Those that genremill may use.
    system: str
    python: str
    torch: str
    cuda: str | None
    genremill: str | None  # None where genremill is run from its sources.


def list_targets(device: str) -> list[Target]:
    """What can be measured on a device: float32, and on a GPU AMP behind it, which workers use."""
    return [Target(device)] if device == "cpu" else [Target(device), Target(device, "auto")]


def load_target_model(name: str, target: Target) -> Model:
    """The model of this name on the target.

    A model without stored weights gets random ones. The sha256 of its checkpoint is then empty.
    """
    try:
        checkpoint = checkpoints.find_checkpoint(name)
    except GenremillError:
        return random_weights.load_random_model(name, target.device, target.amp)
    return checkpoints.load_model(checkpoint, target.device, target.amp)


def start_engine(model: Model, device: str) -> Engine:
    """An engine as a worker has it. The caller closes it."""
    config = settings.load()
    threads = config.usable_cores if device == "cpu" else 1
    return Engine.start(model, device, threads, margin_bytes=config.vram_margin_mib * MIB)


def windows_per_track(model: Model) -> int:
    """The windows in a track's three regions."""
    return REGIONS * model.windowing().region_windows


def describe_machine(device: str) -> Machine:
    """This machine, with its GPU unless the device is "cpu"."""
    gpu = None if device == "cpu" else torch.cuda.get_device_properties(device)
    return {
        "gpu": gpu.name if gpu else None,
        "vram_mib": gpu.total_memory // MIB if gpu else None,
        "cpu": _cpu_name(),
        "cores": settings.load().usable_cores,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if gpu else None,
        "genremill": _genremill_version(),
    }


def _genremill_version() -> str | None:
    try:
        return version("genremill")
    except PackageNotFoundError:
        return None


def _cpu_name() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
