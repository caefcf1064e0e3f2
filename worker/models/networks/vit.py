"""ViT-B/16 on mel spectrograms, `vit_b_16_mel`: torchvision's network and parameter names, in plain torch.

A. Dosovitskiy et al., An Image is Worth 16x16 Words, 2021.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.features.mel import MelPower
from worker.models.networks.ccmusic import HOP, LABELS, SAMPLE_RATE, PictureNetwork, features, head_like, window_samples

__all__ = ["FEATURES", "HOP", "LABELS", "SAMPLE_RATE", "WINDOW", "build"]

PATCH = 16  # pixels
PATCHES = 14 * 14
WIDTH = 768
HEADS = 12
LAYERS = 12
FFT = 2048  # samples
MELS = 128
CONTEXT = FFT // 2 // HOP  # frames

WINDOW = window_samples(CONTEXT)
FEATURES = features("picture of log-mel", CONTEXT) | {"fft": FFT, "mels": MELS}


class Attention(nn.Module):
    """Self-attention with the parameters of nn.MultiheadAttention: (batch, tokens, WIDTH) -> the same."""

    def __init__(self):
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * WIDTH, WIDTH))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * WIDTH))
        self.out_proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        projected = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = projected.unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        return self.out_proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """One layer of the encoder, norms first: (batch, tokens, WIDTH) -> the same."""

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.self_attention = Attention()
        self.ln_2 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Identity(), nn.Linear(4 * WIDTH, WIDTH), nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attention(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    """Tokens (batch, 1 + PATCHES, WIDTH) -> the same."""

    def __init__(self):
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.empty(1, 1 + PATCHES, WIDTH))
        self.layers = nn.Sequential()
        for index in range(LAYERS):
            self.layers.add_module(f"encoder_layer_{index}", Layer())
        self.ln = nn.LayerNorm(WIDTH, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.ln(self.layers(x + self.pos_embedding))


class VisionTransformer(PictureNetwork):
    """Windows -> probabilities, see PictureNetwork."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.class_token = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.conv_proj = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.encoder = Encoder()
        self.heads = nn.Sequential()
        self.heads.add_module("head", head)

    def logits(self, pictures: Tensor) -> Tensor:
        patches = F.linear(cut_patches(pictures), self.conv_proj.weight.flatten(1), self.conv_proj.bias)
        tokens = torch.cat([self.class_token.expand(len(patches), -1, -1), patches], 1)
        return self.heads(self.encoder(tokens)[:, 0])


def cut_patches(pictures: Tensor) -> Tensor:
    """Pictures (batch, 3, side, side) -> their patches, side by side: (batch, PATCHES, 3 * PATCH * PATCH).

    What a convolution of patches is a product with, and several times as fast as one.
    """
    grid = pictures.unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def build(state: dict[str, Tensor]) -> VisionTransformer:
    """The network that a state dict is for, without its weights."""
    with torch.device("meta"):
        network = VisionTransformer(head_like(state, "heads.head", WIDTH))
    return network.look_through(MelPower(SAMPLE_RATE, FFT, HOP, MELS, "none"), MELS)
