"""What a model consists of: a Python module that describes it, and the network that this module builds.

docs/models.md tells the same to users who write a model of their own. Importing this loads no torch.
"""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# The names and kinds of a network's outputs, in their order. A kind is genre, mood, era, instrument or voice.
Labels = tuple[tuple[str, str], ...]

REQUIRED_NAMES = ("SAMPLE_RATE", "WINDOW", "LABELS", "FEATURES", "build")  # What every model's module must have.


class ModelModule(Protocol):
    """A Python module that describes a model.

    It may have two names more, which count as 0 where it does not have them:

    HOP: samples between two frames of a spectrogram. It is for networks that take windows as published systems cut
        them, by whole frames; such a network is a FramedNetwork.
    BAND_HZ: the frequency above which nothing matters to the network. MP3 files are then decoded in less time.
    """

    SAMPLE_RATE: int  # Of the waveforms that the network takes, in Hz.
    WINDOW: int  # Samples in a window, with the context on both sides of it that the network needs.
    LABELS: Labels
    FEATURES: dict[str, object]  # How the network's input is made; stored in the database as JSON.

    def build(self, state: "dict[str, Tensor]", /) -> "nn.Module":
        """The network that a state dict is for, without its weights.

        The state dict may tell variants of the network apart. An empty one stands for the model's own variant.
        """
        ...


class Network(Protocol):
    """What build() returns: a torch.nn.Module that has at least this method."""

    def forward(self, waveform: "Tensor", /) -> "Tensor":
        """Probabilities (windows, labels) of waveforms (windows, WINDOW), float32 in [-1, 1], on the same device."""
        ...


@runtime_checkable
class FramedNetwork(Protocol):
    """A network whose windows are cut by frames, and may share the level that is 0 dB. Its module has a HOP."""

    def forward(
        self, waveform: "Tensor", lengths: "Tensor | None" = None, peaks: "Tensor | None" = None, /
    ) -> "Tensor":
        """Probabilities (windows, labels) of waveforms (windows, WINDOW).

        lengths: the frames of each window that count, int64 (windows,). peaks: the power that is 0 dB in each window,
        float32 (windows,); NaN stands for the window's own greatest power.
        """
        ...

    def peak(self, waveform: "Tensor", lengths: "Tensor", /) -> "Tensor":
        """The greatest power in the frames of each window that count, float32 (windows,)."""
        ...


@runtime_checkable
class EmbeddingNetwork(Protocol):
    """A network that gives an embedding of each window beside its probabilities, out of one forward pass."""

    embedding_size: int  # Values of an embedding.

    def forward_with_embedding(self, waveform: "Tensor", /) -> "tuple[Tensor, Tensor]":
        """What forward() returns, and the embeddings (windows, embedding_size).

        A FramedNetwork gets lengths and peaks too, as its forward() does.
        """
        ...


@runtime_checkable
class CastingNetwork(Protocol):
    """A network that casts its own weights for mixed precision."""

    def cast_to(self, dtype: "torch.dtype", /) -> "torch.dtype":
        """Cast the weights to this dtype, or to one that suits the network better, and return the one that was taken.

        The network's input and output stay float32.
        """
        ...
