"""Sound synthesis: what a voice is, and the voices of things that are plucked or struck."""

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Protocol

import numpy as np

from genremill.sample.dsp import MAX_PARTIAL, Signal, band_pass, decay, fft_length, ramp_down, ramp_up, time_axis

STRING_ATTACK_S = 0.001  # Time of the linear rise at the start of a string's note.
KNOCK_HZ = (200, 4000)  # The band of the noise that a hammer or pick makes.
KNOCK_S = Fraction(1, 20)  # Its length.
KNOCK_DECAY_S = 0.008  # Time constant of its decay.
BAR_ATTACK_S = 0.002  # Time of the linear rise at the start of a bar's note.
TREMOLO_HZ = 5.5  # Rate of the tremolo of struck bars.
DRUM_DECAYS = 6  # A drum is cut off after this many time constants of its decay, at -52 dB.
CYMBAL_KHZ = (2.1, 3.3, 4.1, 5.4, 6.8, 8.3)  # Frequencies of a cymbal's square waves.
CYMBAL_SPREAD_HZ = 40.0  # Each stroke raises each of them by a random amount up to this.


class Voice(Protocol):
    """The sound of an instrument."""

    def render(self, pitch_hz: float, hold_s: float, rng: np.random.Generator, sample_rate: int) -> Signal:
        """Render one note that is held for a time: mono samples (n,), which go on until its release has ended."""
        ...


@dataclass(frozen=True)
class PluckedString:
    """A plucked or struck string: each period is the previous one, with its high partials a little weaker.

    This is the string of Karplus and Strong ("Digital synthesis of plucked-string and drum timbres", 1983). Their loop
    filters one period after the other; here the decay of each partial is known, so all periods are computed at once.
    That a partial is weak where the string is plucked at one of its nodes follows Jaffe and Smith ("Extensions of the
    Karplus-Strong plucked-string algorithm", 1983).
    """

    decay_s: float = 2.0  # Time constant of the low partials' decay.
    damping_hz: float = 2500  # Partials at this frequency decay twice as fast; higher ones faster still.
    position: float = 0.13  # Where the string is plucked, as a share of its length.
    rolloff: float = 0.6  # Partial k starts with amplitude k to the power of minus this.
    knock: float = 0.0  # Level of the noise that a hammer or pick makes.
    release_s: float = 0.06  # Time of the fade after the note.
    unison_cents: float = 0  # How much higher a second string is tuned; 0: there is no second string.

    def render(self, pitch_hz: float, hold_s: float, rng: np.random.Generator, sample_rate: int) -> Signal:
        """Render one note, as Voice.render."""
        n = int((hold_s + self.release_s) * sample_rate)
        out = self._vibrate(pitch_hz, n, rng, sample_rate)
        if self.unison_cents:
            out += self._vibrate(pitch_hz * 2 ** (self.unison_cents / 1200), n, rng, sample_rate)
        t = time_axis(n, sample_rate)
        if self.knock:
            burst = rng.standard_normal(min(n, int(KNOCK_S * sample_rate))).astype(np.float32)
            noise = self.knock * band_pass(burst, *KNOCK_HZ, sample_rate)
            out[: len(burst)] += noise * decay(t[: len(burst)], KNOCK_DECAY_S)
        return out * ramp_up(t, STRING_ATTACK_S) * ramp_down(t, hold_s, self.release_s)

    def _vibrate(self, pitch_hz: float, n: int, rng: np.random.Generator, sample_rate: int) -> Signal:
        """A string that nobody stops, (n,)."""
        period = fft_length(max(int(np.ceil(sample_rate / pitch_hz)), 8))
        k = np.arange(1, int(min(period // 2, MAX_PARTIAL * sample_rate / pitch_hz)) + 1)
        plucked = np.abs(np.sin(np.pi * k * self.position)) / k**self.rolloff
        start = plucked * np.exp(2j * np.pi * rng.random(len(k)))
        nepers_per_period = (1 + (k * pitch_hz / self.damping_hz)) / self.decay_s / pitch_hz
        periods = np.arange(int(n * pitch_hz / sample_rate) + 3, dtype=np.float32)
        spectra = np.zeros((len(periods), period // 2 + 1), np.complex64)
        spectra[:, 1 : len(k) + 1] = start * np.exp(-np.outer(periods, nepers_per_period.astype(np.float32)))
        wave = np.fft.irfft(spectra, period).astype(np.float32).ravel() * period / 6  # The level becomes about 1.
        position = np.arange(n) * (pitch_hz * period / sample_rate)  # In the wave, whose period is a little too long.
        string: Signal = np.interp(position, np.arange(len(wave)), wave).astype(np.float32)
        return string


class Partial(NamedTuple):
    """One mode of a struck bar."""

    ratio: float  # Its frequency as a multiple of the pitch.
    amplitude: float
    decay_s: float  # Time constant of its decay.


@dataclass(frozen=True)
class StruckBar:
    """A struck bar, tine or bell, by modal synthesis: a sum of a few sine waves that decay."""

    partials: tuple[Partial, ...]
    tremolo: float = 0  # Depth, from 0 to 1, of a periodic change of loudness.
    release_s: float = 0.3  # Time of the fade after the note.

    def render(self, pitch_hz: float, hold_s: float, rng: np.random.Generator, sample_rate: int) -> Signal:
        """Render one note, as Voice.render."""
        t = time_axis(int((hold_s + self.release_s) * sample_rate), sample_rate)
        out = np.zeros(len(t), np.float32)
        for ratio, amplitude, decay_s in self.partials:
            if ratio * pitch_hz < MAX_PARTIAL * sample_rate:
                out += amplitude * decay(t, decay_s) * np.sin(2 * np.pi * ratio * pitch_hz * t)
        out *= 1 - self.tremolo * (0.5 + 0.5 * np.sin(2 * np.pi * TREMOLO_HZ * t))
        return out * ramp_up(t, BAR_ATTACK_S) * ramp_down(t, hold_s, self.release_s)


class Sweep(NamedTuple):
    """A decaying sine wave whose pitch falls: the skin of a drum."""

    gain: float
    end_hz: float  # Frequency that the pitch falls to.
    fall_s: float  # Time constant of the fall.
    decay_s: float  # Time constant of the amplitude's decay.
    start_ratio: float = 4  # How many times higher the pitch starts.


class NoiseBurst(NamedTuple):
    """Decaying noise between two frequencies: the snares of a drum, or a cymbal."""

    gain: float
    decay_s: float  # Time constant of the amplitude's decay.
    low_hz: float
    high_hz: float
    metal: float = 0  # Level of a cymbal's square waves in the noise.


@dataclass(frozen=True)
class Drum:
    """A percussion instrument. Pitch and length of the note make no difference to it."""

    sweep: Sweep | None = None
    noise: NoiseBurst | None = None
    attack_s: float = 0.0005  # Time of the linear rise at the start.

    def render(self, pitch_hz: float, hold_s: float, rng: np.random.Generator, sample_rate: int) -> Signal:
        """Render one stroke, as Voice.render."""
        decay_s = max(part.decay_s for part in (self.sweep, self.noise) if part)
        t = time_axis(int(DRUM_DECAYS * decay_s * sample_rate), sample_rate)
        out = np.zeros(len(t), np.float32)
        if self.sweep:
            out += _render_sweep(self.sweep, t)
        if self.noise:
            out += _render_noise(self.noise, t, rng, sample_rate)
        return (out * ramp_up(t, self.attack_s)).astype(np.float32)


def _render_sweep(sweep: Sweep, t: Signal) -> Signal:
    """A sweep at each time t in seconds, (n,). The number of cycles since the start is its frequency's integral."""
    cycles = sweep.end_hz * (t + (sweep.start_ratio - 1) * sweep.fall_s * (1 - decay(t, sweep.fall_s)))
    wave: Signal = sweep.gain * np.sin(2 * np.pi * cycles)
    return wave * decay(t, sweep.decay_s)


def _render_noise(noise: NoiseBurst, t: Signal, rng: np.random.Generator, sample_rate: int) -> Signal:
    """A burst of noise at each time t in seconds, (n,).

    A cymbal's inharmonic square waves come from the drum machine Roland TR-808, which has six of them as well.
    """
    grain = rng.standard_normal(len(t)).astype(np.float32)
    for khz in CYMBAL_KHZ if noise.metal else ():
        grain += noise.metal * np.sign(np.sin(2 * np.pi * (1000 * khz + rng.uniform(0, CYMBAL_SPREAD_HZ)) * t))
    return noise.gain * band_pass(grain, noise.low_hz, noise.high_hz, sample_rate) * decay(t, noise.decay_s)
