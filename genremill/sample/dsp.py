"""Signal processing that voices, the mixer and long tracks share."""

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.floating]  # Samples, or a curve over time. Full scale is -1 to 1, and mono samples are (n,).

PEAK = 0.9  # Highest absolute value of a sample in a finished track; full scale is 1.
MAX_PARTIAL = 0.47  # Highest frequency of a partial as a share of the sample rate; above 0.5 it would alias.


def time_axis(n: int, sample_rate: int) -> Signal:
    """The times of n samples in seconds, (n,)."""
    return np.arange(n, dtype=np.float32) / np.float32(sample_rate)


def ramp_up(t: Signal, length_s: float) -> Signal:
    """A rise from 0 at time 0 to 1 after some seconds, where it stays, at times t (n,)."""
    ramp: Signal = np.minimum(t / length_s, 1)
    return ramp


def ramp_down(t: Signal, start_s: float, length_s: float) -> Signal:
    """A fall from 1 at a start time to 0 some seconds later, where it stays, at times t (n,)."""
    ramp: Signal = np.clip(1 - (t - start_s) / length_s, 0, 1)
    return ramp


def decay(t: Signal, time_constant_s: float) -> Signal:
    """An exponential fall from 1 at time 0 to 1/e after the time constant, at times t (n,)."""
    curve: Signal = np.exp(-t / time_constant_s)
    return curve


def fft_length(n: int) -> int:
    """A length of at least n, little longer, for which an FFT is fast: 8, 7, 6 or 5 times a power of two."""
    power = 1 << (n - 1).bit_length()
    return next(length for length in (power // 8 * 5, power // 4 * 3, power // 8 * 7, power) if length >= n)


def band_pass(signal: Signal, low_hz: float, high_hz: float, sample_rate: int) -> Signal:
    """Filter mono samples (n,) with slopes of 12 dB per octave below one frequency and above another.

    The filter multiplies the spectrum by a real gain, so it does not shift the signal in time.
    """
    n = fft_length(len(signal))
    frequency_hz = np.fft.rfftfreq(n, 1 / sample_rate).astype(np.float32) + 1e-3  # Not 0, which is divided by.
    gain = 1 / ((1 + (frequency_hz / high_hz) ** 2) * (1 + (low_hz / frequency_hz) ** 2))
    return np.fft.irfft(np.fft.rfft(signal, n) * gain, n)[: len(signal)].astype(np.float32)
