"""The constant-Q transform of librosa.cqt, in batches, on the device that the waveform is on."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.features.resample import Resample

SAMPLE_RATE = 22_050  # Hz
OCTAVES = 7
PER_OCTAVE = 12
BINS = OCTAVES * PER_OCTAVE
LOWEST_HZ = 32.70319566257483  # C1
BAND_HZ = 8_000  # of what is above, the filters hear 35 dB less; librosa makes their spectra sparse
HOP = 512  # samples
DECIMATOR_BLOCKS = 64  # fast on a CPU and on a GPU


def octave_kernel() -> tuple[np.ndarray, np.ndarray]:
    """The filters of the highest octave, and every filter's length in samples.

    librosa's wavelets, their spectra made sparse as librosa does (without that, the floor is 30 dB off), and back in
    time: complex (PER_OCTAVE, samples), and (BINS,). In octaves below, the same filters meet a decimated waveform.
    """
    import librosa  # 130 MB and a second, for this alone

    frequencies = LOWEST_HZ * 2.0 ** (np.arange(BINS) / PER_OCTAVE)
    step = 2.0 ** (2 / PER_OCTAVE)
    bandwidth = np.full(BINS, (step - 1) / (step + 1))
    lengths, _ = librosa.filters.wavelet_lengths(freqs=frequencies, sr=SAMPLE_RATE, alpha=bandwidth)
    wavelets, tops = librosa.filters.wavelet(
        freqs=frequencies[-PER_OCTAVE:], sr=SAMPLE_RATE, alpha=bandwidth[-PER_OCTAVE:]
    )
    fft = wavelets.shape[1]
    spectra = np.fft.fft(wavelets * (tops[:, None] / fft))[:, : fft // 2 + 1].astype(np.complex64)
    sparse = librosa.util.sparsify_rows(spectra, quantile=0.01).toarray()
    waves = np.exp(-2j * np.pi * np.outer(np.arange(fft // 2 + 1), np.arange(fft)) / fft)
    return sparse @ waves, lengths


class ConstantQPower(nn.Module):
    """Constant-Q power spectrogram: (batch, samples) -> (batch, BINS, 1 + samples // HOP); |librosa.cqt| squared.

    Octave by octave from the highest: filter, then halve the rate (B. McFee et al., librosa, after C. Schörkhuber and
    A. Klapuri, 2010), with soxr's own half-band filter. Two matrix products each.
    """

    def __init__(self):
        super().__init__()
        kernel, lengths = octave_kernel()
        self.fft = kernel.shape[1]
        gains = 4.0 ** np.arange(OCTAVES)[::-1].repeat(PER_OCTAVE) / lengths
        for name, value in (("kernel", np.concatenate([kernel.real, kernel.imag]).T), ("gains", gains[:, None])):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)
        self.decimate = Resample(2, 1, DECIMATOR_BLOCKS)

    def forward(self, waveform: Tensor) -> Tensor:
        frames = 1 + waveform.shape[1] // HOP
        octaves = []
        for octave in range(OCTAVES):
            if octave:
                waveform = self.decimate(waveform)
            octaves.append(self._filter(waveform, HOP >> octave)[:, :frames])
        return torch.cat(octaves[::-1], 2).transpose(1, 2) * self.gains

    def _filter(self, waveform: Tensor, hop: int) -> Tensor:
        """Power of the octave's filters: (batch, frames, PER_OCTAVE)."""
        pieces = F.pad(waveform, (self.fft // 2, self.fft // 2)).unfold(1, self.fft, hop)
        return (pieces @ self.kernel).unflatten(2, (2, PER_OCTAVE)).square().sum(2)
