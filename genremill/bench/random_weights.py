"""Random weights, for measurements and tests of models whose weights are not here.

They are of a size at which the networks tell windows apart: with much smaller ones, all windows would look alike.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from worker.models import checkpoints, registry
from worker.models.checkpoints import Checkpoint, Model
from worker.models.interface import ModelModule

# The parameters by whose names vit and vgg know which head, and how many classes, a state dict has.
HEADS = {
    "published": ("heads.head.9.weight", "classifier.9.weight"),
    "plain": ("heads.head.weight", "classifier.weight"),
    "torchvision": ("heads.head.weight", "classifier.6.weight"),
}
SMALL_SCALE = 0.02  # Standard deviation of biases and of the like.
NORM_SCALE = 0.1  # Standard deviation of the scales of norm layers, around 1.


def load_random_model(name: str, device: str, amp: str = "off") -> Model:
    """The model of this name with weights from a seed, else as checkpoints.load_model() gives it.

    The sha256 of its checkpoint is empty.
    """
    entry = registry.find_model(name)
    module = registry.import_model_module(entry)
    network = checkpoints.build_with_weights(module, seeded_state(module, classes=len(module.LABELS)))
    checkpoint = Checkpoint(name, entry.version, Path(), "")
    return checkpoints.assemble(checkpoint, module, network, module.LABELS, device, amp)


def seeded_state(module: ModelModule, head: str = "published", classes: int = 16, seed: int = 0) -> dict[str, Tensor]:
    """A state dict for a network of a model's module. `head` (a key of HEADS) and `classes` count for vit and vgg."""
    network: nn.Module = module.build({name: torch.empty(classes, 1) for name in HEADS[head]})
    generator = torch.Generator().manual_seed(seed)
    return {name: _make_values(name, tensor, generator) for name, tensor in network.state_dict().items()}


def _make_values(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """Values for a parameter of this name and shape."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.long)
    noise = torch.randn(like.shape, generator=generator)
    if name.endswith(("bias", "running_mean", "class_token", "pos_embedding")):
        return noise * SMALL_SCALE
    if like.ndim == 1:  # The scales of a norm layer.
        return (1 + noise * NORM_SCALE).abs()
    inputs = like[0].numel()
    scaled: Tensor = noise * (2 / inputs) ** 0.5  # He initialization, arXiv:1502.01852.
    return scaled
