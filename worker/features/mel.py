"""From a waveform to a network's input, on the device that the waveform is on."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEL_BREAK_HZ = 1000.0  # Slaney's mel scale: linear below, logarithmic above
MEL_LINEAR_HZ = 200.0 / 3.0
MEL_LOG_STEP = math.log(6.4) / 27.0
MEL_GROUP = 16  # filters multiplied at a time: they overlap few bins
CPU_FRAMES = 512  # transformed at a time: more do not stay in a core's cache


def mel_filters(sample_rate: int, fft: int, mels: int) -> Tensor:
    """Slaney's triangles with area normalisation, from 0 to sample_rate / 2: (mels, fft // 2 + 1) float32.

    The formula is that of librosa.filters.mel (M. Slaney, Auditory Toolbox, 1998).
    """
    break_mel = MEL_BREAK_HZ / MEL_LINEAR_HZ
    top = break_mel + math.log(sample_rate / 2 / MEL_BREAK_HZ) / MEL_LOG_STEP
    mel = torch.linspace(0, top, mels + 2, dtype=torch.float64)
    linear, logarithmic = mel * MEL_LINEAR_HZ, MEL_BREAK_HZ * torch.exp(MEL_LOG_STEP * (mel - break_mel))
    hz = torch.where(mel < break_mel, linear, logarithmic)
    bins = torch.linspace(0, sample_rate / 2, fft // 2 + 1, dtype=torch.float64)
    low, middle, high = hz[:-2, None], hz[1:-1, None], hz[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return (torch.minimum(rising, falling).clamp(min=0) * 2 / (high - low)).float()


class MelPower(nn.Module):
    """Mel power spectrogram: (batch, samples) -> (batch, mels, frames), 1 + samples // hop frames.

    pad_mode: what lies beyond the waveform's ends, "reflect" or "constant" (zeros, librosa's default); "none": frames
    lie within the waveform, 1 + (samples - fft) // hop of them.
    """

    def __init__(self, sample_rate: int, fft: int, hop: int, mels: int, pad_mode: str = "reflect"):
        super().__init__()
        self.fft, self.hop, self.mels, self.pad_mode = fft, hop, mels, pad_mode
        self.register_buffer("window", torch.hann_window(fft), persistent=False)
        self._groups = []
        for first, group in enumerate(mel_filters(sample_rate, fft, mels).split(MEL_GROUP)):
            bins = group.amax(0).nonzero()
            low, high = int(bins[0]), int(bins[-1]) + 1
            twice = group[:, low:high].repeat_interleave(2, 1)  # of the squares of real and imaginary parts
            self.register_buffer(f"filters_{first}", twice.T.contiguous(), persistent=False)
            self._groups.append((f"filters_{first}", slice(2 * low, 2 * high)))

    def forward(self, waveform: Tensor) -> Tensor:
        if self.pad_mode != "none":
            waveform = F.pad(waveform[:, None], (self.fft // 2, self.fft // 2), mode=self.pad_mode)[:, 0]
        frames = waveform.unfold(1, self.fft, self.hop)
        power = waveform.new_empty(*frames.shape[:2], self.mels)
        at_once = frames.shape[1] if waveform.is_cuda else CPU_FRAMES
        rows = len(frames) if waveform.is_cuda else max(1, CPU_FRAMES // frames.shape[1])
        for some, result in zip(frames.split(rows), power.split(rows), strict=True):
            for piece, part in zip(some.split(at_once, 1), result.split(at_once, 1), strict=True):
                self._mel(piece, part.view(-1, self.mels))
        return power.transpose(1, 2)

    def _mel(self, frames: Tensor, power: Tensor) -> None:
        """Frames (rows, frames, fft), into power (rows * frames, mels)."""
        squares = torch.view_as_real(torch.fft.rfft((frames * self.window).flatten(0, 1))).flatten(1)
        squares *= squares
        for (name, bins), part in zip(self._groups, power.split(MEL_GROUP, 1), strict=True):
            torch.mm(squares[:, bins], self.get_buffer(name), out=part)
