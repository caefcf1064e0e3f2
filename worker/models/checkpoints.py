"""Finding, verifying and loading a model's weights."""

import json
from dataclasses import dataclass
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING

from settings import GenremillError
from worker.models import registry
from worker.windowing import Windowing

if TYPE_CHECKING:  # the producer identifies models without torch
    import torch

LABELS = "labels"  # in the metadata of a stored file: JSON, [[name, kind], ...]


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
    hop: int = 0  # samples between two frames, where tracks are cut by frames
    dtype: str = "float32"  # that the network computes in
    band_hz: int = 0  # see worker.windowing.Windowing

    def windowing(self, coverage: str = "regions") -> Windowing:
        """What the model reads of a track."""
        return Windowing(self.sample_rate, self.window, coverage, self.hop, self.band_hz)


def find_checkpoint(name: str) -> Checkpoint:
    """The weights of the model of this name: those imported last, or those shipped. Raises GenremillError when there
    are none."""
    entry = registry.find_model(name)
    stored = stored_weights(name)
    if stored is not None:
        return Checkpoint(name, entry.version, stored, stored.name.split(".")[1])
    if entry.shipped is not None and entry.shipped.is_file():
        return Checkpoint(name, entry.version, entry.shipped, _digest(entry.shipped))
    raise GenremillError(f"there are no weights for the model {name}: {_how_to_get(entry)}")


def stored_weights(name: str) -> Path | None:
    """The file of imported weights: the newest, should there be several."""
    return max(stored_files(name), key=lambda path: path.stat().st_mtime_ns, default=None)


def stored_files(name: str) -> list[Path]:
    """The files of imported weights in the models' folder: NAME.SHA256.safetensors."""
    return list(registry.folder().glob(f"{name}.{'[0-9a-f]' * 64}.safetensors"))


@lru_cache
def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _how_to_get(entry: registry.ModelEntry) -> str:
    if entry.shipped is not None:
        return "reinstall genremill"
    own = f"`genremill models import FILE --model {entry.name}`"
    return f"`genremill models fetch {entry.name}`, or {own}" if entry.published else own


def load_model(checkpoint: Checkpoint, device: str, amp: str = "off") -> Model:
    """The model with these weights on a device ("cpu", "cuda:0"), ready for inference.

    amp: see worker.models.precision. Raises GenremillError when the file is not what
    was stored, or the model's code does not take it.
    """
    from safetensors.torch import load_file

    if _digest(checkpoint.path) != checkpoint.sha256:
        raise GenremillError(f"{checkpoint.path} is damaged: import the weights again")
    module = registry.import_model_module(registry.find_model(checkpoint.name))
    labels = stored_labels(checkpoint.path) or module.LABELS
    return assemble(checkpoint, module, build_with_weights(module, load_file(checkpoint.path)), labels, device, amp)


def assemble(
    checkpoint: Checkpoint | None,
    module,
    network: "torch.nn.Module",
    labels: tuple[tuple[str, str], ...],
    device: str,
    amp: str = "off",
) -> Model:
    """A model of a module and its network, see load()."""
    import torch

    from worker.models import precision

    hop = getattr(module, "HOP", 0) if hasattr(network, "peak") else 0
    network = network.requires_grad_(False).to(device)
    dtype = precision.cast_to(network, precision.choose_dtype(amp, torch.device(device)))
    features = json.dumps(module.FEATURES, sort_keys=True)
    dtype_name = str(dtype).removeprefix("torch.")
    band_hz = getattr(module, "BAND_HZ", 0)
    return Model(checkpoint, network, module.SAMPLE_RATE, module.WINDOW, labels, features, hop, dtype_name, band_hz)


def stored_labels(path: Path) -> tuple[tuple[str, str], ...] | None:
    """The labels that were stored with weights."""
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        stored = (file.metadata() or {}).get(LABELS)
    return tuple((name, kind) for name, kind in json.loads(stored)) if stored else None


def build_with_weights(module, state: dict) -> "torch.nn.Module":
    """The model's network with the weights of a state dict, in eval mode. What else is in the state is left out.
    Raises WeightsMismatchError."""
    network = module.build(state)
    weights = {}
    for name, parameter in network.state_dict().items():
        if name in state:
            weights[name] = state[name]
        elif name.endswith("num_batches_tracked"):  # of training only
            weights[name] = parameter.new_zeros((), device="cpu")
        else:
            raise WeightsMismatchError(f"it has no parameter {name}")
        if weights[name].shape != parameter.shape:
            raise WeightsMismatchError(f"its parameter {name} is {_shape(weights[name])}, not {_shape(parameter)}")
    network.load_state_dict(weights, assign=True)
    return network.eval()


def _shape(tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"


class WeightsMismatchError(GenremillError):
    """A state dict is not one of this model's."""
