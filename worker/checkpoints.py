"""Finding, verifying and loading a model's weights."""

import importlib
import json
from dataclasses import dataclass
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING

from settings import GenremillError
from worker import models

if TYPE_CHECKING:  # the producer identifies models without torch
    import torch


@dataclass(frozen=True)
class Checkpoint:
    """A model's weights: what a prediction is tied to."""

    name: str
    version: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class Model:
    """A model, loaded."""

    checkpoint: Checkpoint
    network: "torch.nn.Module"  # (windows, window) float32 -> probabilities (windows, labels)
    sample_rate: int  # Hz
    window: int  # samples
    labels: tuple[tuple[str, str], ...]  # name and kind, in the order of the probabilities
    features: str  # JSON


@lru_cache
def find(name: str) -> Checkpoint:
    """The weights of the model of this name. Raises GenremillError when there are none."""
    entry = models.find(name)
    if entry.shipped is None or not entry.shipped.is_file():
        raise GenremillError(f"there are no weights for the model {name}: reinstall genremill")
    with entry.shipped.open("rb") as file:
        return Checkpoint(name, entry.version, entry.shipped, file_digest(file, "sha256").hexdigest())


def load(checkpoint: Checkpoint, device: str) -> Model:
    """The model with these weights on a device ("cpu", "cuda:0"), ready for inference."""
    module = importlib.import_module(models.find(checkpoint.name).module)
    network = module.load(checkpoint.path).eval().requires_grad_(False).to(device)
    features = json.dumps(module.FEATURES, sort_keys=True)
    return Model(checkpoint, network, module.SAMPLE_RATE, module.WINDOW, module.LABELS, features)
