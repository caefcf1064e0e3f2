"""From a waveform to a network's input, on the device that the waveform is on."""

import math

import torch
from torch import Tensor, nn

MEL_BREAK_HZ = 1000.0  # Slaney's mel scale: linear below, logarithmic above
MEL_LINEAR_HZ = 200.0 / 3.0
MEL_LOG_STEP = math.log(6.4) / 27.0


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
    """Mel power spectrogram: (batch, samples) -> (batch, mels, 1 + samples // hop).

    pad_mode: what lies beyond the waveform's ends, "reflect" or "constant" (zeros, librosa's default).
    """

    def __init__(self, sample_rate: int, fft: int, hop: int, mels: int, pad_mode: str = "reflect"):
        super().__init__()
        self.fft, self.hop, self.pad_mode = fft, hop, pad_mode
        self.register_buffer("window", torch.hann_window(fft), persistent=False)
        self.register_buffer("filters", mel_filters(sample_rate, fft, mels), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        spectrum = torch.stft(
            waveform, self.fft, self.hop, window=self.window, center=True, pad_mode=self.pad_mode, return_complex=True
        )
        power = torch.view_as_real(spectrum).square().sum(-1)
        return self.filters @ power
