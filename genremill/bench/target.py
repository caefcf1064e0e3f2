"""What is measured: a model on a device, in numbers of some kind; and the machine that it runs on."""

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import settings
from genremill.bench import random_weights
from genremill.bench.memory import MIB
from settings import GenremillError
from worker.inference.engine import Engine
from worker.models import checkpoints
from worker.models.checkpoints import Model
from worker.windowing import REGIONS, Windowing

SHORT = {"float32": "fp32", "bfloat16": "AMP bf16", "float16": "AMP fp16"}


@dataclass(frozen=True)
class Mode:
    """How a model computes."""

    device: str  # as torch calls it
    amp: str = "off"  # see worker.models.precision

    @property
    def kind(self) -> str:
        """GPU or CPU."""
        return "CPU" if self.device == "cpu" else "GPU"

    def __str__(self) -> str:
        return self.kind if self.amp == "off" else f"{self.kind} with AMP"


def modes(device: str) -> list[Mode]:
    """What there is to measure on a device, the best mode last."""
    return [Mode(device)] if device == "cpu" else [Mode(device), Mode(device, "auto")]


def load_target_model(name: str, mode: Mode) -> Model:
    """The model in this mode, with weights from a seed where there are none: then its checkpoint has no sha256."""
    try:
        checkpoint = checkpoints.find_checkpoint(name)
    except GenremillError:
        return random_weights.load_random_model(name, mode.device, mode.amp)
    return checkpoints.load_model(checkpoint, mode.device, mode.amp)


def start_engine(model: Model, device: str) -> Engine:
    """An engine as a worker has it. Close it."""
    config = settings.load()
    threads = config.usable_cores if device == "cpu" else 1
    return Engine(model, device, threads, margin_bytes=config.vram_margin_mib << 20)


def windowing_of(model: Model) -> Windowing:
    """What is read of a track."""
    return model.windowing()


def windows_per_track(model: Model) -> int:
    """Windows of a track's three regions."""
    return REGIONS * windowing_of(model).region_windows


def machine(device: str) -> dict:
    """What the figures are figures of."""
    gpu = None if device == "cpu" else torch.cuda.get_device_properties(device)
    return {
        "gpu": gpu and gpu.name,
        "vram_mib": gpu and gpu.total_memory // MIB,
        "cpu": _cpu_name(),
        "cores": settings.load().usable_cores,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if gpu else None,
        "genremill": _version(),
    }


def _version() -> str | None:
    try:
        return version("genremill")
    except PackageNotFoundError:  # run from its sources
        return None


def _cpu_name() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
