"""In which numbers a network computes on a GPU: automatic mixed precision, with the weights cast once."""

import torch
from torch import nn

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "off": torch.float32}


def choose_dtype(amp: str, device: torch.device) -> torch.dtype:
    """The numbers for "auto", "bf16", "fp16" or "off": on a CPU float32; "auto" is bf16 where the GPU has it."""
    if device.type == "cpu":
        return torch.float32
    if amp == "auto":
        amp = "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return DTYPES[amp]


def cast_to(network: nn.Module, dtype: torch.dtype) -> torch.dtype:
    """Make the network compute in a dtype; its input and output stay float32. Returns the dtype it took.

    A network that has a method lower(dtype) casts its own weights, and says what it took; any other is run under
    autocast, which casts them at every call.
    """
    if dtype == torch.float32:
        return dtype
    if hasattr(network, "lower"):
        return network.lower(dtype)
    network.forward = torch.autocast("cuda", dtype)(network.forward)
    return dtype


def cast_parameters(network: nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights, and leave the constants of the features, which are buffers, as they are."""
    for parameter in network.parameters():
        parameter.data = parameter.data.to(dtype)
