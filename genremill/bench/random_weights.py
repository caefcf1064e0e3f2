"""Weights from a seed, of a size at which the networks tell windows apart: enough to measure and to test with."""

from pathlib import Path

import torch
from torch import Tensor

from worker.models import checkpoints, registry
from worker.models.checkpoints import Checkpoint, Model

HEADS = {  # what a state dict of 16 classes has of each head: the parameter that tells it, for each network
    "published": ("heads.head.9.weight", "classifier.9.weight"),
    "plain": ("heads.head.weight", "classifier.weight"),
    "torchvision": ("heads.head.weight", "classifier.6.weight"),
}


def load_random_model(name: str, device: str, amp: str = "off") -> Model:
    """The model of this name with weights from a seed, see checkpoints.load(); its checkpoint has no sha256."""
    entry = registry.find_model(name)
    module = registry.import_model_module(entry)
    network = checkpoints.build_with_weights(module, seeded_state(module, classes=len(module.LABELS)))
    checkpoint = Checkpoint(name, entry.version, Path(), "")
    return checkpoints.assemble(checkpoint, module, network, module.LABELS, device, amp)


def seeded_state(module, head: str = "published", classes: int = 16, seed: int = 0) -> dict[str, Tensor]:
    """A state dict for a network of a model's module; `head` and `classes` are for vit and vgg."""
    network = module.build({name: torch.empty(classes, 1) for name in HEADS[head]})
    chance = torch.Generator().manual_seed(seed)
    return {name: _values(name, tensor, chance) for name, tensor in network.state_dict().items()}


def _values(name: str, like: Tensor, chance: torch.Generator) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.long)
    noise = torch.randn(like.shape, generator=chance)
    if name.endswith(("bias", "running_mean", "class_token", "pos_embedding")):
        return noise * 0.02
    if like.ndim == 1:  # scales of norms
        return (1 + noise * 0.1).abs()
    return noise * (2 / like[0].numel()) ** 0.5
