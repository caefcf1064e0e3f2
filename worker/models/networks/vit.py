"""ViT-B/16 on mel spectrograms, `vit_b_16_mel`: torchvision's network and parameter names, in plain torch.

A. Dosovitskiy et al., An Image is Worth 16x16 Words, 2021.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.features.mel import MelPower
from worker.features.picture import SpectrogramImage
from worker.models.networks.ccmusic import (
    HOP,
    LABELS,
    SAMPLE_RATE,
    PictureNetwork,
    build_head,
    describe_features,
    window_samples,
)

__all__ = ["FEATURES", "HOP", "LABELS", "SAMPLE_RATE", "WINDOW", "build"]

PATCH = 16  # Pixels on each side of a patch, which becomes one token.
PATCHES = 14 * 14  # In a picture of 224 x 224 pixels.
WIDTH = 768  # Values of a token.
HEADS = 12  # Of an attention.
LAYERS = 12  # Of the encoder.
NORM_EPSILON = 1e-6  # Of the layer norms, as torchvision has it.
FFT = 2048  # Samples of a frame.
MELS = 128  # Bins of the spectrogram.
CONTEXT_FRAMES = FFT // 2 // HOP  # On each side, half of FFT counted in hops: what the outermost frames see.

WINDOW = window_samples(CONTEXT_FRAMES)
FEATURES = describe_features("picture of log-mel", CONTEXT_FRAMES) | {"fft": FFT, "mels": MELS}


class Attention(nn.Module):
    """Self-attention with the parameters of nn.MultiheadAttention: (batch, tokens, WIDTH) -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * WIDTH, WIDTH))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * WIDTH))
        self.out_proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        projected = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = torch.unflatten(projected, 2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        attended: Tensor = self.out_proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return attended


class Layer(nn.Module):
    """One layer of the encoder, norms first: (batch, tokens, WIDTH) -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(WIDTH, eps=NORM_EPSILON)
        self.self_attention = Attention()
        self.ln_2 = nn.LayerNorm(WIDTH, eps=NORM_EPSILON)
        self.mlp = (
            nn.Sequential(  # With nn.Identity in the places of torchvision's dropouts, for the parameters' names.
                nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Identity(), nn.Linear(4 * WIDTH, WIDTH), nn.Identity()
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = x + self.self_attention(self.ln_1(x))
        result: Tensor = x + self.mlp(self.ln_2(x))
        return result


class Encoder(nn.Module):
    """Tokens (batch, 1 + PATCHES, WIDTH) -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.empty(1, 1 + PATCHES, WIDTH))
        self.layers = nn.Sequential()
        for index in range(LAYERS):
            self.layers.add_module(f"encoder_layer_{index}", Layer())
        self.ln = nn.LayerNorm(WIDTH, eps=NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        encoded: Tensor = self.ln(self.layers(x + self.pos_embedding))
        return encoded


class VisionTransformer(PictureNetwork):
    """Windows -> probabilities, see PictureNetwork. Embeddings: the class token as the encoder leaves it."""

    embedding_size = WIDTH

    def __init__(self, head: nn.Module, spectrogram: nn.Module, picture: SpectrogramImage) -> None:
        super().__init__(spectrogram, picture)
        self.class_token = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.conv_proj = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.encoder = Encoder()
        self.heads = nn.Sequential()
        self.heads.add_module("head", head)

    def encode(self, pictures: Tensor) -> Tensor:
        """The class tokens (batch, WIDTH) behind the encoder, see PictureNetwork."""
        patches = F.linear(cut_patches(pictures), self.conv_proj.weight.flatten(1), self.conv_proj.bias)
        tokens = torch.cat([self.class_token.expand(len(patches), -1, -1), patches], 1)
        encoded: Tensor = self.encoder(tokens)[:, 0]
        return encoded

    def apply_head(self, encoded: Tensor) -> Tensor:
        """See PictureNetwork."""
        scores: Tensor = self.heads(encoded)
        return scores


def cut_patches(pictures: Tensor) -> Tensor:
    """Pictures (batch, 3, side, side) -> the pixels of their patches, (batch, PATCHES, 3 * PATCH * PATCH).

    The convolution of torchvision's network is a product of these with its kernel, which is several times as fast.
    """
    grid = torch.unflatten(torch.unflatten(pictures, 3, (-1, PATCH)), 2, (-1, PATCH))
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def build(state: dict[str, Tensor]) -> VisionTransformer:
    """The network that a state dict is for, without its weights: they are on the device "meta"."""
    spectrogram, picture = MelPower(SAMPLE_RATE, FFT, HOP, MELS, "none"), SpectrogramImage(MELS)
    with torch.device("meta"):
        return VisionTransformer(build_head(state, "heads.head", WIDTH), spectrogram, picture)
