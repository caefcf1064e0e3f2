"""Finding, verifying and loading a model's weights."""

import json
import logging
from dataclasses import dataclass
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING

from settings import GenremillError
from worker.models import registry
from worker.models.interface import EmbeddingNetwork, FramedNetwork, Labels, ModelModule
from worker.windowing import Windowing

if TYPE_CHECKING:  # The producer uses this module without loading torch.
    from torch import Tensor, nn

LABELS_KEY = "labels"  # In the metadata of a file of weights: JSON, [[name, kind], ...].

log = logging.getLogger(__name__)


class WeightsMismatchError(GenremillError):
    """Weights are not for this model. The message names the first parameter that is missing or has another shape."""


@dataclass(frozen=True)
class Checkpoint:
    """A model with certain weights: what predictions belong to."""

    name: str  # Of the model.
    version: str  # Of the model's code.
    path: Path  # Of the file of weights.
    sha256: str  # Of the file of weights.


@dataclass(frozen=True)
class Model:
    """A model that is loaded on a device, ready to predict."""

    checkpoint: Checkpoint
    network: "nn.Module"  # Windows (windows, window) float32 -> probabilities (windows, labels); see interface.Network.
    sample_rate: int  # Of the windows, in Hz.
    window: int  # Samples in a window, context included.
    labels: Labels
    features: str  # How the network's input is made, as JSON for the database: the FEATURES of the model's module.
    hop: int = 0  # Samples between two frames, where tracks are cut by frames; else 0. See worker.windowing.
    dtype: str = "float32"  # The name of the dtype that the network computes in.
    band_hz: int = 0  # The frequency above which nothing matters to the network; 0: all of them matter.
    embedding_size: int = 0  # Values of the embedding that is wanted of each window; 0: none is wanted.

    def windowing(self, coverage: str = "regions") -> Windowing:
        """Which windows of a track the model reads. coverage is "regions" or "full"."""
        return Windowing(self.sample_rate, self.window, coverage, self.hop, self.band_hz)


def find_checkpoint(name: str) -> Checkpoint:
    """The weights of the model of this name: those that were imported last, else those that come with genremill.

    Raises GenremillError when there is no such model, or when there are no weights; it says how to get them.
    """
    entry = registry.find_model(name)
    stored = stored_weights(name)
    if stored is not None:
        return Checkpoint(name, entry.version, stored, stored.name.split(".")[1])
    if entry.shipped is not None and entry.shipped.is_file():
        return Checkpoint(name, entry.version, entry.shipped, _digest(entry.shipped))
    raise GenremillError(f"there are no weights for the model {name}: {_how_to_get_weights(entry)}")


def stored_weights(name: str) -> Path | None:
    """The file of weights that was imported for a model; the newest one, should there be several."""
    return max(stored_files(name), key=lambda path: path.stat().st_mtime_ns, default=None)


def stored_files(name: str) -> list[Path]:
    """All files of weights that were imported for a model: NAME.SHA256.safetensors in the folder of models."""
    return list(registry.models_dir().glob(f"{name}.{'[0-9a-f]' * 64}.safetensors"))


@lru_cache
def _digest(path: Path) -> str:
    """The SHA-256 of a file. It is read once in the life of a process."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _how_to_get_weights(entry: registry.ModelEntry) -> str:
    if entry.shipped is not None:
        return "reinstall genremill"
    import_command = f"`genremill models import FILE --model {entry.name}`"
    return f"`genremill models fetch {entry.name}`, or {import_command}" if entry.published else import_command


def load_model(checkpoint: Checkpoint, device: str, amp: str = "off", embeddings: str = "off") -> Model:
    """The model with these weights, on a device ("cpu", "cuda:0"), ready to predict.

    amp: the numbers that it computes with on a GPU, see precision.choose_dtype(). embeddings: whether it gives an
    embedding of each window, too: "on", "off", or "auto", for which the registry knows the answer.
    Raises GenremillError when the file has changed since it was stored, or when the model's code does not take the
    weights.
    """
    from safetensors.torch import load_file

    if _digest(checkpoint.path) != checkpoint.sha256:
        raise GenremillError(f"{checkpoint.path} is damaged: import the weights again")
    module = registry.import_model_module(registry.find_model(checkpoint.name))
    labels = stored_labels(checkpoint.path) or module.LABELS
    network = build_with_weights(module, load_file(checkpoint.path))
    return assemble(checkpoint, module, network, labels, device, amp, embeddings)


def assemble(
    checkpoint: Checkpoint,
    module: ModelModule,
    network: "nn.Module",
    labels: Labels,
    device: str,
    amp: str = "off",
    embeddings: str = "off",
) -> Model:
    """A model of a module and of the network that it built, moved to a device.

    For device, amp, embeddings and errors see load_model().
    """
    import torch

    from worker.models import precision

    network = network.requires_grad_(False).to(device)
    dtype = precision.cast_to(network, precision.choose_dtype(amp, torch.device(device)))
    return Model(
        checkpoint=checkpoint,
        network=network,
        sample_rate=module.SAMPLE_RATE,
        window=module.WINDOW,
        labels=labels,
        features=json.dumps(module.FEATURES, sort_keys=True),
        hop=getattr(module, "HOP", 0) if isinstance(network, FramedNetwork) else 0,
        dtype=str(dtype).removeprefix("torch."),
        band_hz=getattr(module, "BAND_HZ", 0),
        embedding_size=_wanted_embedding_size(checkpoint.name, network, embeddings),
    )


def _wanted_embedding_size(name: str, network: "nn.Module", embeddings: str) -> int:
    """The values of the embedding that is wanted of each window, 0 for none. For embeddings see load_model()."""
    if embeddings == "off" or (embeddings == "auto" and not registry.find_model(name).embeds_by_default):
        return 0
    size = offered_embedding_size(name, network)
    if not size:
        log.warning("the model %s gives no embeddings, so none are stored: see docs/models.md", name)
    return size


def offered_embedding_size(name: str, network: "nn.Module") -> int:
    """The values of the embeddings that a network can give; 0 when it gives none.

    Raises GenremillError when a user's network says something that is no size. name: of its model.
    """
    if not isinstance(network, EmbeddingNetwork):
        return 0
    size = network.embedding_size
    if not isinstance(size, int) or size < 1:
        raise GenremillError(f"the model {name}: embedding_size is {size!r}, and must be a whole number from 1 on")
    return size


def stored_labels(path: Path) -> Labels | None:
    """The labels that were stored in a file of weights; None where it has none."""
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        stored = (file.metadata() or {}).get(LABELS_KEY)
    return tuple((name, kind) for name, kind in json.loads(stored)) if stored else None


def build_with_weights(module: ModelModule, state: "dict[str, Tensor]") -> "nn.Module":
    """The model's network with the weights of a state dict, in eval mode.

    Parameters of the state dict that the network does not have are left out. Raises WeightsMismatchError when one that
    it has is missing, or has another shape.
    """
    network = module.build(state)
    weights = {name: _pick_weight(name, like, state) for name, like in network.state_dict().items()}
    network.load_state_dict(weights, assign=True)
    return network.eval()


def _pick_weight(name: str, like: "Tensor", state: "dict[str, Tensor]") -> "Tensor":
    """The parameter of this name, which must have the shape of `like`. Raises WeightsMismatchError."""
    if name not in state:
        if name.endswith("num_batches_tracked"):  # Batch norms count so in training, and not when they predict.
            return like.new_zeros((), device="cpu")
        raise WeightsMismatchError(f"it has no parameter {name}")
    if state[name].shape != like.shape:
        raise WeightsMismatchError(f"its parameter {name} is {_format_shape(state[name])}, not {_format_shape(like)}")
    return state[name]


def _format_shape(tensor: "Tensor") -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"
