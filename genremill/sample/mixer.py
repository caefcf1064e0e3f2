"""The mixer: effects on the channel of each part, the reverb that all share, and the master."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from genremill.sample.dsp import PEAK, Signal, band_pass, decay, fft_length, time_axis
from genremill.sample.styles import Part

SPEAKER_HZ = (90, 4200)  # The band of a guitar amplifier's loudspeaker, which distortion goes through.
ECHOES = 5  # Repeats that an echo has.
ECHO_BEATS = 0.75  # Time between two of them.
DUCKING_BEATS = 0.3  # Time constant with which a ducked part comes back after a beat.
WIDE_DELAY_S = Fraction(1, 90)  # How late the right channel of a wide part is: too little to be heard as an echo.
FADE_S = Fraction(1, 50)  # Length of the fades at the start and end of a track.
REVERB_NEPERS = 4  # How far the reverb has decayed at its end: to exp(-4), 35 dB down.
REVERB_CUTOFF_HZ = 4000  # Above this frequency walls absorb most of the sound.


def apply_effects(signal: Signal, part: Part, beat_s: float, sample_rate: int) -> Signal:
    """A part's samples (n,) with distortion, echo, ducking and gain."""
    if part.drive:
        signal = band_pass(np.tanh(part.drive * signal), *SPEAKER_HZ, sample_rate)
    if part.echo:
        signal = _add_echo(signal, part.echo, int(ECHO_BEATS * beat_s * sample_rate))
    if part.ducking:
        since_beat_s = time_axis(len(signal), sample_rate) % beat_s
        signal = signal * (1 - part.ducking * decay(since_beat_s, DUCKING_BEATS * beat_s))
    return (part.gain * signal).astype(np.float32)


def _add_echo(dry: Signal, gain: float, delay: int) -> Signal:
    """A signal (n,) and its repeats, each `delay` samples after the one before and `gain` times as loud."""
    wet = dry.copy()
    for repeat in range(1, ECHOES + 1):
        wet[repeat * delay :] += gain**repeat * dry[: max(0, len(dry) - repeat * delay)]
    return wet


def place_in_stereo(signal: Signal, part: Part, sample_rate: int) -> Signal:
    """A part's samples (n,) at its place in the stereo picture: (2, n)."""
    right = signal
    if part.wide:
        delay = int(WIDE_DELAY_S * sample_rate)
        right = np.concatenate((np.zeros(delay, np.float32), signal))[: len(signal)]
    return np.stack((signal * min(1, 1 - part.pan), right * min(1, 1 + part.pan)))


def reverberate(signal: Signal, seconds: float, rng: np.random.Generator, sample_rate: int) -> Signal:
    """The reverb of a room for samples (n,), without the samples themselves: (2, n).

    The room's impulse response is noise that decays exponentially, after Moorer, "About this reverberation business"
    (1979), with other noise for each side.
    """
    length = int(seconds * sample_rate)
    envelope = np.exp(-REVERB_NEPERS * time_axis(length, sample_rate) / seconds)
    responses = rng.standard_normal((2, length)).astype(np.float32) * envelope / (length / 8) ** 0.5
    n = fft_length(len(signal) + length)
    frequency_hz = np.fft.rfftfreq(n, 1 / sample_rate).astype(np.float32)
    spectrum = np.fft.rfft(signal, n) / (1 + (frequency_hz / REVERB_CUTOFF_HZ) ** 2)
    return np.stack([np.fft.irfft(spectrum * np.fft.rfft(side, n), n)[: len(signal)] for side in responses])


def master(mix: Signal, loudness: float, sample_rate: int) -> npt.NDArray[np.float32]:
    """A mix (2, n) as a finished track (n, 2): at a loudness, softly limited to PEAK, faded in and out.

    The loudness is the root mean square before the limiter. The mix is changed.
    """
    mix *= float(loudness / PEAK / (np.sqrt(np.mean(mix**2)) + 1e-9))
    track = np.ascontiguousarray(PEAK * np.tanh(mix).T, dtype=np.float32)
    fade = min(int(FADE_S * sample_rate), len(track))
    ramp = np.linspace(0, 1, fade, dtype=np.float32)[:, None]
    track[:fade] *= ramp
    track[len(track) - fade :] *= ramp[::-1]
    return track
