"""MSD_musicnn, the default model: 50 tags of the Million Song Dataset, 3 s windows, small enough for any machine.

Weights and architecture: musicnn 0.1.0 (J. Pons and X. Serra, Music Technology Group, Universitat Pompeu Fabra, 2019;
ISC licence, weights/LICENSE.md). Front-end channels with vanishing kernels are folded into biases, batch norms into
scales and shifts; the probabilities are those of the original.
"""

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.features.mel import MelPower
from worker.models.precision import cast_parameters

SAMPLE_RATE = 16_000  # Hz
FFT = 512  # samples
HOP = 256  # samples
MELS = 96
FRAMES = 187  # of log-mel in a window
WINDOW = FRAMES * HOP  # samples, 2.992 s: the last frame ends with the last sample
FLOAT16_MAX = 65_504.0
BLOCK = 32  # frames that a product of matrices makes at a time

FEATURES = {
    "kind": "log-mel", "sample_rate": SAMPLE_RATE, "fft": FFT, "hop": HOP, "mels": MELS, "frames": FRAMES
}  # fmt: skip

TAGS = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s", "alternative rock",
    "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul", "indie rock", "Mellow",
    "electronica", "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies", "blues", "hard rock", "ambient",
    "acoustic", "experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening",
    "sexy", "catchy", "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop", "sad", "House",
    "happy",
)  # fmt: skip
KINDS = {
    "mood": ("beautiful", "Mellow", "chill", "party", "sexy", "catchy", "sad", "happy"),
    "voice": ("female vocalists", "male vocalists", "female vocalist"),
    "instrument": ("instrumental", "acoustic", "guitar"),
    "era": ("00s", "90s", "80s", "70s", "60s", "oldies"),
}
_KIND = {tag: kind for kind, tags in KINDS.items() for tag in tags}
LABELS = tuple((tag, _KIND.get(tag, "genre")) for tag in TAGS)


class Frontend(nn.Module):
    """A convolution over time and frequency, and its maxima over all of frequency: (batch, 1, frames, mels) ->
    (batch, channels, frames).

    The original is convolution, relu, batch norm, maximum. Here the batch norm is a scale and a shift, and the maximum
    comes first: a channel with a negative scale needs the minimum, so its kernel and bias are stored negated. Relu,
    scale and shift are the Musicnn's to do, for the channels of all its front ends at once.

    On a CPU it takes three quarters of the time another way round: time is innermost, so that maxima are of whole rows,
    and a convolution over time alone, which has few channels, is a product of matrices.
    """

    def __init__(self, channels: int, frames: int, bands: int):
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv2d(1, channels, (frames, bands))
        self.scale = nn.Parameter(torch.ones(channels, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return self.conv(self._padded(x)).amax(3)
        if self.conv.kernel_size[1] == 1:
            return self._maxima_by_product(x)
        return F.conv2d(self._padded(x).transpose(2, 3), self._transposed, self.conv.bias).amax(2)

    def _padded(self, x: Tensor, more: int = 0) -> Tensor:
        return F.pad(x, (0, 0, (self.frames - 1) // 2, self.frames // 2 + more))

    def _maxima_by_product(self, x: Tensor) -> Tensor:
        """The maxima of a convolution over time, BLOCK frames at a time."""
        batch, _, frames, _ = x.shape
        around = self._padded(x[:, 0], -frames % BLOCK).unfold(1, len(self._toeplitz), BLOCK)
        maxima = (around @ self._toeplitz).amax(2).reshape(batch, -1, self.conv.out_channels)
        return maxima[:, :frames].transpose(1, 2) + self.conv.bias[:, None]

    @cached_property
    def _transposed(self) -> Tensor:
        """The kernels with time innermost."""
        return self.conv.weight.detach().transpose(2, 3).contiguous()

    @cached_property
    def _toeplitz(self) -> Tensor:
        """From a band's frames to BLOCK frames of every channel: (BLOCK + kernel - 1, BLOCK * channels)."""
        kernel = self.conv.weight.detach()[:, 0, :, 0].T
        rows = kernel.new_zeros(BLOCK + self.frames - 1, BLOCK, self.conv.out_channels)
        for frame in range(BLOCK):
            rows[frame : frame + self.frames, frame] = kernel
        return rows.flatten(1)


class Block(nn.Module):
    """Convolution over time, relu, batch norm (a scale and a shift): (batch, inputs, frames) -> (batch, channels,
    frames)."""

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.conv = nn.Conv1d(inputs, channels, 7, padding=3)
        self.scale = nn.Parameter(torch.ones(channels, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x)) * self.scale + self.shift


class Musicnn(nn.Module):
    """Waveforms (batch, WINDOW) float32 in [-1, 1] -> probabilities (batch, 50)."""

    TIMBRE_AND_RHYTHM = ((7, 38), (7, 67), (128, 1), (64, 1), (32, 1))  # kernels: frames, bands
    dtype = torch.float32  # of the weights; the features are float32 always

    def __init__(self, channels: list[int], mid: int = 64, units: int = 200):
        super().__init__()
        self.mel = MelPower(SAMPLE_RATE, FFT, HOP, MELS)
        self.scale = nn.Parameter(torch.ones(1))
        self.shift = nn.Parameter(torch.zeros(1))
        kernels = zip(channels, self.TIMBRE_AND_RHYTHM, strict=True)
        self.frontend = nn.ModuleList(Frontend(count, *kernel) for count, kernel in kernels)
        self.mid = nn.ModuleList([Block(sum(channels), mid), Block(mid, mid), Block(mid, mid)])
        self.dense = nn.Linear(2 * (sum(channels) + 3 * mid), units)
        self.out = nn.Linear(units, len(TAGS))

    def lower(self, _dtype: torch.dtype) -> torch.dtype:
        """Cast the weights to float16, whatever is asked for: bf16 moves a track's probabilities by up to 0.013,
        float16 by 0.002."""
        self.dtype = torch.float16
        cast_parameters(self, self.dtype)
        return self.dtype

    @cached_property
    def _norm(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of all the front end's channels: the signs of their scales, the scales, the shifts: (channels, 1) each."""
        scale, shift = (
            torch.cat([getattr(branch, name).detach() for branch in self.frontend]) for name in ("scale", "shift")
        )
        return scale.sign(), scale, shift

    def features(self, waveform: Tensor) -> Tensor:
        """Log-mel patches, (batch, FRAMES, MELS). The original rounds the power to float16, and only the power."""
        power = self.mel(waveform)[..., :FRAMES].clamp(max=FLOAT16_MAX).half().float()
        return torch.log10(10_000 * power + 1).transpose(-1, -2)

    def classify(self, patches: Tensor) -> Tensor:
        """Log-mel patches (batch, FRAMES, MELS) -> probabilities (batch, 50)."""
        x = (patches * self.scale + self.shift).unsqueeze(1).to(self.dtype)
        sign, scale, shift = self._norm
        front = F.relu(torch.cat([branch(x) for branch in self.frontend], 1) * sign) * scale + shift
        first = self.mid[0](front)
        second = self.mid[1](first) + first
        third = self.mid[2](second) + second
        maps = torch.cat([front, first, second, third], 1)
        pooled = torch.cat([maps.amax(2), maps.mean(2)], 1)
        return self.out(F.relu(self.dense(pooled))).float().sigmoid()

    def forward(self, waveform: Tensor) -> Tensor:
        return self.classify(self.features(waveform))


def build(state: dict[str, Tensor]) -> Musicnn:
    """The network that a state dict is for, without its weights."""
    scales = (f"frontend.{index}.scale" for index in range(len(Musicnn.TIMBRE_AND_RHYTHM)))
    return Musicnn([len(state[name]) if name in state else 1 for name in scales])
