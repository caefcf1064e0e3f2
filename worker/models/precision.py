"""Automatic mixed precision: which numbers a network computes with on a GPU. Its weights are cast once."""

from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from worker.models.interface import CastingNetwork, EmbeddingNetwork

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "off": torch.float32}  # By the setting GENREMILL_AMP.
BF16_CAPABILITY = (8, 0)  # GPUs of this compute capability, or of a higher one, have bfloat16.


def choose_dtype(amp: str, device: torch.device) -> torch.dtype:
    """The dtype that networks compute in on a device.

    amp: "bf16", "fp16", "off" (float32), or "auto", which is bf16 where the GPU has it and fp16 elsewhere. On a CPU it
    is always float32.
    """
    if device.type == "cpu":
        return torch.float32
    if amp == "auto":
        amp = "bf16" if torch.cuda.get_device_capability(device) >= BF16_CAPABILITY else "fp16"
    return DTYPES[amp]


def cast_to(network: nn.Module, dtype: torch.dtype) -> torch.dtype:
    """Make a network compute in a dtype, and return the dtype that it took. Its input and output stay float32.

    A network that has a method cast_to() casts its own weights. Any other one runs under torch.autocast, which casts
    the weights at every call.
    """
    if dtype == torch.float32:
        return dtype
    cast_weights = _find_cast_method(network)
    if cast_weights is not None:
        return cast_weights(dtype)
    autocast = torch.autocast("cuda", dtype)
    network.forward = autocast(network.forward)
    if isinstance(network, EmbeddingNetwork):
        embed = autocast(network.forward_with_embedding)
        network.forward_with_embedding = embed  # type: ignore[method-assign]  # of this network alone
    return dtype


def _find_cast_method(network: nn.Module) -> Callable[[torch.dtype], torch.dtype] | None:
    """The network's cast_to(), or its lower(): users' models may have the same method under its earlier name."""
    if isinstance(network, CastingNetwork):
        return network.cast_to
    return cast(Callable[[torch.dtype], torch.dtype] | None, getattr(network, "lower", None))


def cast_parameters(network: nn.Module, dtype: torch.dtype) -> None:
    """Cast a network's weights. The constants of its features, which are buffers, stay as they are."""
    for parameter in network.parameters():
        parameter.data = parameter.data.to(dtype)
