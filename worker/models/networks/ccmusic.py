"""What the two networks of the CCMusic database share: classes, windows, the picture they look at, and their heads.

The networks and their weights: https://huggingface.co/ccmusic-database/music_genre.
"""

import torch
from torch import Tensor, nn

from worker.features.picture import SpectrogramImage, decibels, first_frames
from worker.models.precision import cast_parameters

SAMPLE_RATE = 22_050  # Hz.
HOP = 512  # Samples between two frames of a spectrogram.
WINDOW_S = 11.4  # Seconds of audio that a picture shows.
FRAMES = int(WINDOW_S * SAMPLE_RATE / HOP)  # Of a window: 490. Some lengths of tracks make windows of one frame more.
LABELS = tuple(  # In the order of the networks' outputs.
    (name, "genre")
    for name in (
        "Symphony", "Opera", "Solo", "Chamber", "Pop vocal ballad", "Adult contemporary", "Teen pop",
        "Contemporary dance pop", "Dance pop", "Classic indie pop", "Chamber cabaret & art pop", "Soul / R&B",
        "Adult alternative rock", "Uplifting anthemic rock", "Soft rock", "Acoustic pop",
    )
)  # fmt: skip


def window_samples(context_frames: int) -> int:
    """Samples of a window: FRAMES + 1 frames, and so many frames of context on each side."""
    return (FRAMES + 1 + 2 * context_frames) * HOP


def describe_features(kind: str, context_frames: int) -> dict[str, object]:
    """How a network's input is made, for the database."""
    return {
        "kind": kind, "sample_rate": SAMPLE_RATE, "hop": HOP, "frames": FRAMES, "context_frames": context_frames,
        "reference": {"regions": "the window's maximum", "full": "the track's maximum"}, "floor_db": -80,
    }  # fmt: skip


class PictureNetwork(nn.Module):
    """A vision network that looks at the picture of a window's spectrogram.

    Subclasses have encode(), apply_head() and embedding_size. spectrogram: a module from waveforms (batch, samples) to
    power (batch, bins, frames). picture: draws spectrograms of so many bins. context_frames: frames of context before a
    window in its spectrogram.
    """

    dtype = torch.float32  # Of the weights. The features are always computed in float32.
    embedding_size: int  # Values of an embedding.

    def __init__(self, spectrogram: nn.Module, picture: SpectrogramImage, context_frames: int = 0) -> None:
        super().__init__()
        self.spectrogram, self.picture, self._context_frames = spectrogram, picture, context_frames

    def encode(self, pictures: Tensor) -> Tensor:
        """What the head gets of pictures (batch, 3, 224, 224) in [-1, 1], in the dtype of the weights."""
        raise NotImplementedError

    def apply_head(self, encoded: Tensor) -> Tensor:
        """What encode() returned -> scores (batch, classes), in the dtype of the weights."""
        raise NotImplementedError

    def embedding(self, encoded: Tensor) -> Tensor:
        """What encode() returned -> embeddings (batch, embedding_size): the same, unless a subclass has its own."""
        return encoded

    def logits(self, pictures: Tensor) -> Tensor:
        """The scores (batch, classes) of pictures (batch, 3, 224, 224) in [-1, 1], in the dtype of the weights."""
        return self.apply_head(self.encode(pictures))

    def cast_to(self, dtype: torch.dtype) -> torch.dtype:
        """Cast the weights; see worker.models.interface.CastingNetwork."""
        cast_parameters(self, dtype)
        self.dtype = dtype
        return dtype

    def power(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """The spectrograms of windows, (batch, bins, FRAMES + 1), without their context.

        Frames from lengths (batch,) on are copies of the first one, see worker.features.first_frames().
        """
        power = self.spectrogram(waveform)[:, :, self._context_frames : self._context_frames + FRAMES + 1]
        return first_frames(power, lengths)

    def peak(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """The greatest power in the first lengths (batch,) frames of each window: (batch,)."""
        return self.power(waveform, lengths).amax((1, 2))

    def pictures(self, waveform: Tensor, lengths: Tensor, peaks: Tensor) -> Tensor:
        """What the network sees, (batch, 3, 224, 224) in [-1, 1]. For lengths and peaks see forward()."""
        power = self.power(waveform, lengths)
        reference = torch.where(peaks.isnan(), power.amax((1, 2)), peaks)
        pictures: Tensor = self.picture(decibels(power, reference), lengths)
        return pictures * 2 - 1

    def forward(self, waveform: Tensor, lengths: Tensor | None = None, peaks: Tensor | None = None) -> Tensor:
        """Windows (batch, samples) with their context -> probabilities (batch, classes).

        lengths: how many frames of each window count, int64 (batch,); FRAMES where it is not given.
        peaks: the power that is 0 dB in each window, (batch,). Where it is not given or NaN, it is the window's own
        greatest power.
        """
        return self.apply_head(self._encode(waveform, lengths, peaks)).float().softmax(1)

    def forward_with_embedding(
        self, waveform: Tensor, lengths: Tensor | None = None, peaks: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What forward() returns, and the embeddings (batch, embedding_size) of the windows."""
        encoded = self._encode(waveform, lengths, peaks)
        return self.apply_head(encoded).float().softmax(1), self.embedding(encoded)

    def _encode(self, waveform: Tensor, lengths: Tensor | None, peaks: Tensor | None) -> Tensor:
        """What encode() makes of windows; for the arguments see forward()."""
        batch = len(waveform)
        lengths = torch.full((batch,), FRAMES, device=waveform.device) if lengths is None else lengths
        peaks = torch.full((batch,), torch.nan, device=waveform.device) if peaks is None else peaks
        return self.encode(self.pictures(waveform, lengths, peaks).to(self.dtype))


def published_head(inputs: int, classes: int) -> nn.Sequential:
    """The published classifier: three hidden layers between `inputs` and `classes`, in geometric steps."""
    step = (inputs / classes) ** 0.25
    small = int(step * classes)
    middle = int(step * small)
    large = int(step * middle)
    return nn.Sequential(
        nn.Dropout(), nn.Linear(inputs, large), nn.ReLU(),
        nn.Dropout(), nn.Linear(large, middle), nn.ReLU(),
        nn.Dropout(), nn.Linear(middle, small), nn.ReLU(),
        nn.Linear(small, classes),
    )  # fmt: skip


def count_classes(state: dict[str, Tensor], name: str) -> int | None:
    """The outputs of a state dict's layer whose weight has this name; None when there is no such weight."""
    return len(state[name]) if name in state else None


def build_head(state: dict[str, Tensor], name: str, inputs: int) -> nn.Module:
    """The head that a state dict has under this name: the published one, else one linear layer."""
    classes = count_classes(state, f"{name}.9.weight")  # The published head's last layer.
    if classes:
        return published_head(inputs, classes)
    return nn.Linear(inputs, count_classes(state, f"{name}.weight") or len(LABELS))
