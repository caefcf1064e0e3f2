"""MSD_musicnn, the default model: 50 tags of the Million Song Dataset, windows of 3 s, small enough for any machine.

Architecture and weights are those of musicnn 0.1.0 (J. Pons and X. Serra, musicnn: Pre-trained convolutional neural
networks for music audio tagging, 2019; ISC licence, see weights/LICENSE.md). For the same probabilities with less work,
front-end channels whose kernels vanish are folded into biases, and batch norms are scales and shifts.
"""

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.features.mel import MelPower
from worker.models.precision import cast_parameters

SAMPLE_RATE = 16_000  # Hz.
FFT = 512  # Samples of a frame.
HOP = 256  # Samples from one frame to the next.
MELS = 96  # Bins of the spectrogram.
FRAMES = 187  # Of a window.
WINDOW = FRAMES * HOP  # Samples, 2.992 s: the last frame ends with the last sample.
FLOAT16_MAX = 65_504.0  # The largest number of float16, to which the original rounds the power.
LOG_SCALE = 10_000  # The original takes the logarithm of 1 + LOG_SCALE * power.
BLOCK_FRAMES = 32  # Frames that a product of matrices makes at a time, in place of a convolution.
KERNEL_FRAMES = 7  # Of the convolutions in the middle of the network.

FEATURES: dict[str, object] = {
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
KINDS = {  # Of the tags that are no genres.
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
    comes first. A channel with a negative scale needs the minimum, so its kernel and bias are stored negated. Musicnn
    does relu, scale and shift, for the channels of all its front ends at once.

    A CPU does it in another way, in three quarters of the time. Time is innermost, so that maxima are taken of whole
    rows; and a convolution over time alone, which has few channels, is a product of matrices.
    """

    def __init__(self, channels: int, frames: int, bands: int) -> None:
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv2d(1, channels, (frames, bands))
        self.scale = nn.Parameter(torch.ones(channels, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if x.device.type != "cpu":
            maxima: Tensor = self.conv(self._pad(x)).amax(3)
            return maxima
        if self.conv.kernel_size[1] == 1:
            return self._multiply(x)
        return F.conv2d(self._pad(x).transpose(2, 3), self._transposed_kernels, self.conv.bias).amax(2)

    def _pad(self, x: Tensor, more_frames: int = 0) -> Tensor:
        """Frames (..., frames, mels) with zeros on both sides, so that a convolution returns as many as there are."""
        return F.pad(x, (0, 0, (self.frames - 1) // 2, self.frames // 2 + more_frames))

    def _multiply(self, x: Tensor) -> Tensor:
        """The maxima of a convolution over time, BLOCK_FRAMES at a time."""
        batch, _, frames, _ = x.shape
        assert self.conv.bias is not None  # nn.Conv2d has one unless it is told otherwise.
        blocks = self._pad(x[:, 0], -frames % BLOCK_FRAMES).unfold(1, len(self._kernel_matrix), BLOCK_FRAMES)
        maxima = (blocks @ self._kernel_matrix).amax(2).reshape(batch, -1, self.conv.out_channels)
        return maxima[:, :frames].transpose(1, 2) + self.conv.bias[:, None]

    @cached_property
    def _transposed_kernels(self) -> Tensor:
        """The kernels with time innermost."""
        return self.conv.weight.detach().transpose(2, 3).contiguous()

    @cached_property
    def _kernel_matrix(self) -> Tensor:
        """From a band's frames to BLOCK_FRAMES frames of every channel.

        It is a Toeplitz matrix, (BLOCK_FRAMES + kernel - 1, BLOCK_FRAMES * channels).
        """
        kernel = self.conv.weight.detach()[:, 0, :, 0].T
        rows = kernel.new_zeros(BLOCK_FRAMES + self.frames - 1, BLOCK_FRAMES, self.conv.out_channels)
        for frame in range(BLOCK_FRAMES):
            rows[frame : frame + self.frames, frame] = kernel
        return rows.flatten(1)


class Block(nn.Module):
    """Convolution over time, relu, and a batch norm as scale and shift: (batch, inputs, frames) -> (batch, channels,
    frames)."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, channels, KERNEL_FRAMES, padding=KERNEL_FRAMES // 2)
        self.scale = nn.Parameter(torch.ones(channels, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.relu(self.conv(x)) * self.scale + self.shift


class Musicnn(nn.Module):
    """Waveforms (batch, WINDOW) float32 in [-1, 1] -> probabilities (batch, 50). Embeddings: the layer before the last.

    channels: of each front end, in the order of FRONTEND_KERNELS.
    """

    FRONTEND_KERNELS = (
        (7, 38),
        (7, 67),
        (128, 1),
        (64, 1),
        (32, 1),
    )  # Frames and bands: two of timbre, three of rhythm.
    dtype = torch.float32  # Of the weights. The features are always computed in float32.

    def __init__(self, channels: list[int], mid: int = 64, units: int = 200) -> None:
        super().__init__()
        self.mel = MelPower(SAMPLE_RATE, FFT, HOP, MELS)
        self.scale = nn.Parameter(torch.ones(1))
        self.shift = nn.Parameter(torch.zeros(1))
        kernels = zip(channels, self.FRONTEND_KERNELS, strict=True)
        self.frontend = nn.ModuleList(Frontend(count, *kernel) for count, kernel in kernels)
        self.mid = nn.ModuleList([Block(sum(channels), mid), Block(mid, mid), Block(mid, mid)])
        self.dense = nn.Linear(2 * (sum(channels) + 3 * mid), units)
        self.embedding_size = units
        self.out = nn.Linear(units, len(TAGS))

    def cast_to(self, _dtype: torch.dtype) -> torch.dtype:
        """Cast the weights to float16, whatever dtype is asked for.

        bfloat16 would move a track's probabilities by up to 0.013, float16 moves them by up to 0.002.
        """
        self.dtype = torch.float16
        cast_parameters(self, self.dtype)
        return self.dtype

    @cached_property
    def _scale_and_shift(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the channels of all front ends: the signs of their scales, the scales, the shifts, (channels, 1) each."""
        scale, shift = (
            torch.cat([getattr(branch, name).detach() for branch in self.frontend]) for name in ("scale", "shift")
        )
        return scale.sign(), scale, shift

    def features(self, waveform: Tensor) -> Tensor:
        """Log-mel patches, (batch, FRAMES, MELS). The original rounds the power to float16, and only the power."""
        power = self.mel(waveform)[..., :FRAMES].clamp(max=FLOAT16_MAX).half().float()
        return torch.log10(LOG_SCALE * power + 1).transpose(-1, -2)

    def embed(self, patches: Tensor) -> Tensor:
        """Log-mel patches (batch, FRAMES, MELS) -> the layer before the last, (batch, units) in the weights' dtype.

        These are the original's dense units after relu. The batch norm behind them is folded into the last layer.
        """
        x = (patches * self.scale + self.shift).unsqueeze(1).to(self.dtype)
        sign, scale, shift = self._scale_and_shift
        front = F.relu(torch.cat([branch(x) for branch in self.frontend], 1) * sign) * scale + shift
        first = self.mid[0](front)
        second = self.mid[1](first) + first
        third = self.mid[2](second) + second
        maps = torch.cat([front, first, second, third], 1)
        pooled = torch.cat([maps.amax(2), maps.mean(2)], 1)
        return F.relu(self.dense(pooled))

    def apply_head(self, embeddings: Tensor) -> Tensor:
        """What embed() returned -> probabilities (batch, 50)."""
        probabilities: Tensor = self.out(embeddings).float().sigmoid()
        return probabilities

    def classify(self, patches: Tensor) -> Tensor:
        """Log-mel patches (batch, FRAMES, MELS) -> probabilities (batch, 50)."""
        return self.apply_head(self.embed(patches))

    def forward(self, waveform: Tensor) -> Tensor:
        """See the class."""
        return self.classify(self.features(waveform))

    def forward_with_embedding(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """See worker.models.interface.EmbeddingNetwork."""
        embeddings = self.embed(self.features(waveform))
        return self.apply_head(embeddings), embeddings


def build(state: dict[str, Tensor]) -> Musicnn:
    """The network that a state dict is for, without its weights."""
    scales = (f"frontend.{index}.scale" for index in range(len(Musicnn.FRONTEND_KERNELS)))
    return Musicnn([len(state[name]) if name in state else 1 for name in scales])
