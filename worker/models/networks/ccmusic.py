"""What the two networks of the CCMusic database share: classes, windows, the picture they look at, the heads they wear.

Checkpoints: see worker.models.registry. The classes stand in the order of the output units.
"""

import torch
from torch import Tensor, nn

from worker.features.picture import SpectrogramImage, decibels, first_frames
from worker.models.precision import cast_parameters

SAMPLE_RATE = 22_050  # Hz
HOP = 512  # samples
WINDOW_S = 11.4
FRAMES = int(WINDOW_S * SAMPLE_RATE / HOP)  # of a window: 490, or 491 where a track's length has it so
LABELS = tuple(
    (name, "genre")
    for name in (
        "Symphony", "Opera", "Solo", "Chamber", "Pop vocal ballad", "Adult contemporary", "Teen pop",
        "Contemporary dance pop", "Dance pop", "Classic indie pop", "Chamber cabaret & art pop", "Soul / R&B",
        "Adult alternative rock", "Uplifting anthemic rock", "Soft rock", "Acoustic pop",
    )
)  # fmt: skip


def window_samples(context: int) -> int:
    """Samples of FRAMES + 1 frames and of `context` frames on each side."""
    return (FRAMES + 1 + 2 * context) * HOP


def features(kind: str, context: int) -> dict:
    """What a prediction's input is, for the database."""
    return {
        "kind": kind, "sample_rate": SAMPLE_RATE, "hop": HOP, "frames": FRAMES, "context_frames": context,
        "reference": {"regions": "the window's maximum", "full": "the track's maximum"}, "floor_db": -80,
    }  # fmt: skip


class PictureNetwork(nn.Module):
    """A vision network that looks at the picture of a window's spectrogram.

    Subclasses have logits(pictures): (batch, 3, 224, 224) in [-1, 1], in the dtype of the weights -> (batch, classes).
    """

    skipped = 0  # frames at the front of the spectrogram that are context
    dtype = torch.float32  # of the weights; the features are float32 always

    def lower(self, dtype: torch.dtype) -> torch.dtype:
        """Cast the weights; see worker.models.precision."""
        cast_parameters(self, dtype)
        self.dtype = dtype
        return dtype

    def look_through(self, power: nn.Module, bins: int) -> "PictureNetwork":
        """Use this spectrogram: a module from (batch, samples) to (batch, bins, frames). Returns the network."""
        self.power, self.picture = power, SpectrogramImage(bins)
        return self

    def spectrogram(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Power (batch, bins, FRAMES + 1) of windows with their context, for lengths see image.first_frames."""
        power = self.power(waveform)[:, :, self.skipped : self.skipped + FRAMES + 1]
        return first_frames(power, lengths)

    def peak(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """The greatest power in each window's first lengths (batch,) frames: (batch,)."""
        return self.spectrogram(waveform, lengths).amax((1, 2))

    def pictures(self, waveform: Tensor, lengths: Tensor, peaks: Tensor) -> Tensor:
        """What the network sees, (batch, 3, 224, 224) in [-1, 1]; for peaks (batch,) see forward()."""
        power = self.spectrogram(waveform, lengths)
        reference = torch.where(peaks.isnan(), power.amax((1, 2)), peaks)
        return self.picture(decibels(power, reference), lengths) * 2 - 1

    def forward(self, waveform: Tensor, lengths: Tensor | None = None, peaks: Tensor | None = None) -> Tensor:
        """Windows (batch, window samples) -> probabilities (batch, classes).

        lengths (batch,) int64: how many frames of each count, FRAMES where it is not given. peaks (batch,): the power
        that is 0 dB in each, its own greatest where it is not given or NaN.
        """
        batch = len(waveform)
        lengths = torch.full((batch,), FRAMES, device=waveform.device) if lengths is None else lengths
        peaks = torch.full((batch,), torch.nan, device=waveform.device) if peaks is None else peaks
        return self.logits(self.pictures(waveform, lengths, peaks).to(self.dtype)).float().softmax(1)


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


def count_classes(state: dict[str, Tensor], *names: str) -> int | None:
    """The outputs of the first of these weights that a state dict has; None when it has none of them."""
    found = next((state[name] for name in names if name in state), None)
    return None if found is None else len(found)


def head_like(state: dict[str, Tensor], name: str, inputs: int) -> nn.Module:
    """The head that a state dict has under this name: the published one, else a linear layer."""
    classes = count_classes(state, f"{name}.9.weight")
    if classes:
        return published_head(inputs, classes)
    return nn.Linear(inputs, count_classes(state, f"{name}.weight") or len(LABELS))
