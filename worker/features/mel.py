"""Mel power spectrograms, computed on the device that the waveform is on.

The mel scale is the one of M. Slaney, Auditory Toolbox, 1998, as librosa.filters.mel has it by default.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEL_BREAK_HZ = 1000.0  # Slaney's scale is linear below this frequency, and logarithmic above.
MEL_LINEAR_HZ = 200.0 / 3.0  # Below it, one mel is so many Hz.
MEL_LOG_STEP = math.log(6.4) / 27.0  # Above it, the logarithm of the frequency rises by so much with each mel.

FILTER_GROUP = 16  # Filters that are multiplied at a time, without the frequencies that none of them has.
CPU_CHUNK_FRAMES = 512  # Frames that a CPU transforms at a time: the spectra of more do not stay in a core's cache.

PadMode = Literal["reflect", "constant", "none"]


def mel_filters(sample_rate: int, fft: int, mels: int) -> Tensor:
    """The filters of librosa.filters.mel: Slaney's triangles, each with the same area, from 0 Hz to sample_rate / 2.

    sample_rate is in Hz, fft is the length of a frame in samples. Returns float32 (mels, fft // 2 + 1).
    """
    break_mel = MEL_BREAK_HZ / MEL_LINEAR_HZ
    top_mel = break_mel + math.log(sample_rate / 2 / MEL_BREAK_HZ) / MEL_LOG_STEP
    mel = torch.linspace(0, top_mel, mels + 2, dtype=torch.float64)
    linear_hz, logarithmic_hz = mel * MEL_LINEAR_HZ, MEL_BREAK_HZ * torch.exp(MEL_LOG_STEP * (mel - break_mel))
    hz = torch.where(mel < break_mel, linear_hz, logarithmic_hz)
    bin_hz = torch.linspace(0, sample_rate / 2, fft // 2 + 1, dtype=torch.float64)
    low, middle, high = hz[:-2, None], hz[1:-1, None], hz[2:, None]
    rising, falling = (bin_hz - low) / (middle - low), (high - bin_hz) / (high - middle)
    return (torch.minimum(rising, falling).clamp(min=0) * 2 / (high - low)).float()


class MelPower(nn.Module):
    """Mel power spectrogram: waveforms (batch, samples) -> power (batch, mels, frames).

    It is librosa.feature.melspectrogram with power 2 and a Hann window: 1 + samples // hop frames.

    sample_rate is in Hz; fft (the length of a frame) and hop (from one frame to the next) are in samples.
    pad_mode: what the first and the last frames see beyond the ends of the waveform. "reflect" mirrors the waveform,
    "constant" is silence (librosa's default). With "none" all frames lie within the waveform, and there are
    1 + (samples - fft) // hop of them.
    """

    window: Tensor

    def __init__(self, sample_rate: int, fft: int, hop: int, mels: int, pad_mode: PadMode = "reflect") -> None:
        super().__init__()
        self.fft, self.hop, self.mels, self.pad_mode = fft, hop, mels, pad_mode
        self.register_buffer("window", torch.hann_window(fft), persistent=False)
        # For each group of filters: the name of its buffer, and the columns of the squared spectrum that it takes.
        self._groups: list[tuple[str, slice]] = []
        for index, filters in enumerate(torch.split(mel_filters(sample_rate, fft, mels), FILTER_GROUP)):
            bins = filters.amax(0).nonzero()
            low, high = int(bins[0]), int(bins[-1]) + 1
            # A frequency has two columns, the squares of the real and of the imaginary part of its spectrum.
            columns = filters[:, low:high].repeat_interleave(2, 1)
            self.register_buffer(f"filters_{index}", columns.T.contiguous(), persistent=False)
            self._groups.append((f"filters_{index}", slice(2 * low, 2 * high)))

    def forward(self, waveform: Tensor) -> Tensor:
        """See the class."""
        if self.pad_mode != "none":
            waveform = F.pad(waveform[:, None], (self.fft // 2, self.fft // 2), mode=self.pad_mode)[:, 0]
        frames = waveform.unfold(1, self.fft, self.hop)
        power = waveform.new_empty(*frames.shape[:2], self.mels)
        chunk_frames = frames.shape[1] if waveform.is_cuda else CPU_CHUNK_FRAMES
        chunk_rows = len(frames) if waveform.is_cuda else max(1, CPU_CHUNK_FRAMES // frames.shape[1])
        for rows, rows_power in zip(torch.split(frames, chunk_rows), torch.split(power, chunk_rows), strict=True):
            chunks = zip(torch.split(rows, chunk_frames, 1), torch.split(rows_power, chunk_frames, 1), strict=True)
            for chunk, chunk_power in chunks:
                self._multiply_filters(chunk, chunk_power.view(-1, self.mels))
        return power.transpose(1, 2)

    def _multiply_filters(self, frames: Tensor, power: Tensor) -> None:
        """Write the mel power of frames (rows, frames, fft) into power (rows * frames, mels)."""
        squares = torch.view_as_real(torch.fft.rfft((frames * self.window).flatten(0, 1))).flatten(1)
        squares *= squares
        for (name, columns), group_power in zip(self._groups, torch.split(power, FILTER_GROUP, 1), strict=True):
            torch.mm(squares[:, columns], self.get_buffer(name), out=group_power)
