"""Constant-Q power spectrograms as librosa.cqt makes them, in batches, on the device that the waveform is on."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.features.resample import Resample

SAMPLE_RATE = 22_050  # Hz.
OCTAVES = 7
PER_OCTAVE = 12  # Filters in an octave: one for each semitone.
BINS = OCTAVES * PER_OCTAVE
LOWEST_HZ = 32.70319566257483  # The centre of the lowest filter: the note C1.
HOP = 512  # Samples from one frame to the next.

# The filters hardly hear what is above this frequency: its level is at least 35 dB lower in the spectrogram. That they
# hear it at all comes from librosa's sparse spectra.
BAND_HZ = 8_000

SPARSE_QUANTILE = 0.01  # The smallest values of a filter's spectrum, which make up this part of it, are dropped.
DECIMATOR_BLOCKS = 64  # See Resample: large enough to be fast on a GPU, and small enough to be fast on a CPU.


def octave_kernel() -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.float64]]:
    """The filters of the highest octave as waveforms, and the lengths of all filters in samples.

    Returns complex (PER_OCTAVE, samples) and (BINS,). The filters are librosa's wavelets. Their spectra are made
    sparse, as librosa.cqt does, and then transformed back. Without that, quiet bins would be 30 dB off.
    In lower octaves the same filters are used on a waveform of a lower rate.
    """
    import librosa  # Imported here: it takes 130 MB and a second, and nothing else needs it.

    frequencies = LOWEST_HZ * 2.0 ** (np.arange(BINS) / PER_OCTAVE)
    two_semitones = 2.0 ** (2 / PER_OCTAVE)  # The ratio of a filter's two neighbours, between which it lies.
    bandwidth = np.full(BINS, (two_semitones - 1) / (two_semitones + 1))
    lengths, _ = librosa.filters.wavelet_lengths(freqs=frequencies, sr=SAMPLE_RATE, alpha=bandwidth)
    wavelets, top_lengths = librosa.filters.wavelet(
        freqs=frequencies[-PER_OCTAVE:],
        sr=SAMPLE_RATE,
        alpha=bandwidth[-PER_OCTAVE:],  # type: ignore[arg-type]  # librosa declares a float, and takes one of each filter
    )
    fft = wavelets.shape[1]
    spectra = np.fft.fft(wavelets * (top_lengths[:, None] / fft))[:, : fft // 2 + 1].astype(np.complex64)
    sparse_spectra = librosa.util.sparsify_rows(spectra, quantile=SPARSE_QUANTILE).toarray()
    waves = np.exp(-2j * np.pi * np.outer(np.arange(fft // 2 + 1), np.arange(fft)) / fft)
    return sparse_spectra @ waves, lengths


class ConstantQPower(nn.Module):
    """Constant-Q power spectrogram: waveforms (batch, samples) -> power (batch, BINS, 1 + samples // HOP).

    It is the square of the absolute value of librosa.cqt, for waveforms at SAMPLE_RATE and with frames every HOP.

    It works octave by octave, from the highest down: filter, then halve the rate (C. Schörkhuber and A. Klapuri,
    Constant-Q Transform Toolbox for Music Processing, 2010, as librosa does it). Both are products of matrices. The
    rate is halved by soxr's filter.
    """

    kernel: Tensor
    gains: Tensor

    def __init__(self) -> None:
        super().__init__()
        kernel, lengths = octave_kernel()
        self.fft = kernel.shape[1]
        # librosa divides an amplitude by the square root of the filter's length at SAMPLE_RATE, and doubles it with
        # each halving of the rate. Of a power it is the square.
        gains = 4.0 ** np.arange(OCTAVES)[::-1].repeat(PER_OCTAVE) / lengths
        real_and_imaginary = np.concatenate([kernel.real, kernel.imag]).T
        for name, value in (("kernel", real_and_imaginary), ("gains", gains[:, None])):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)
        self.decimate = Resample(2, 1, DECIMATOR_BLOCKS)

    def forward(self, waveform: Tensor) -> Tensor:
        """See the class."""
        frames = 1 + waveform.shape[1] // HOP
        octaves = []
        for octave in range(OCTAVES):
            if octave:
                waveform = self.decimate(waveform)
            octaves.append(self._filter(waveform, HOP >> octave)[:, :frames])
        return torch.cat(octaves[::-1], 2).transpose(1, 2) * self.gains

    def _filter(self, waveform: Tensor, hop: int) -> Tensor:
        """The power that an octave's filters hear, every `hop` samples: (batch, frames, PER_OCTAVE)."""
        frames = F.pad(waveform, (self.fft // 2, self.fft // 2)).unfold(1, self.fft, hop)
        return torch.unflatten(frames @ self.kernel, 2, (2, PER_OCTAVE)).square().sum(2)
