"""A wavetable synthesizer: the voice of synthesizers, winds, bowed strings, organs and singers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genremill.sample.dsp import MAX_PARTIAL, Signal, band_pass, decay, ramp_down, ramp_up, time_axis

WAVETABLE_SAMPLES = 2048  # Length of the one period that a wavetable holds.
CUTOFF_STEPS = 24  # Cutoff frequencies for which a wavetable is computed where the filter moves during the note.
VIBRATO_HZ = (4.8, 5.6)  # The rate of each note's vibrato is random within these limits.
VIBRATO_ONSET_S = 0.5  # Time in which vibrato grows to its full depth.
GOLDEN_RATIO = 0.6180339  # Less 1. Its multiples are spread evenly between whole numbers.
GLIDE_S = 0.05  # Time constant with which a note that starts below its pitch reaches it.

# The amplitudes of the partials k = 1, 2, 3, ... of each oscillator.
SPECTRA: dict[str, Callable[[npt.NDArray[np.int64]], Signal]] = {
    "sine": lambda k: (k == 1) * 1.0,
    "saw": lambda k: 1 / k,
    "square": lambda k: (k % 2) / k,
    "pulse": lambda k: np.sin(np.pi * k * 0.2) / k,  # A rectangle that is high for a fifth of the period.
    "triangle": lambda k: (k % 2) / k**2,
    "organ": lambda k: np.isin(k, (1, 2, 3, 4, 6, 8, 16)) / k**0.5,  # The drawbars of a Hammond organ.
    "voice": lambda k: 1 / k**0.7,  # The vocal folds, before a vowel shapes their sound.
    "soft": lambda k: 1 / k**2,
}


class Formant(NamedTuple):
    """A resonance of the vocal tract."""

    center_hz: float
    gain: float


VOWELS = {  # The formants of each vowel, roughly those of a male singer.
    "a": (Formant(750, 1.0), Formant(1200, 0.6), Formant(2700, 0.3), Formant(3500, 0.15)),
    "o": (Formant(450, 1.0), Formant(850, 0.5), Formant(2600, 0.12), Formant(3400, 0.08)),
    "e": (Formant(500, 1.0), Formant(1800, 0.4), Formant(2600, 0.3), Formant(3600, 0.15)),
}


class Envelope(NamedTuple):
    """An ADSR envelope: the course of a note's amplitude."""

    attack_s: float  # Time of the linear rise from 0 to 1.
    decay_s: float  # Time constant of the exponential fall to the sustain level.
    sustain: float  # Level from 0 to 1 while the note is held.
    release_s: float  # Time of the fade to 0 after the note.

    def curve(self, n: int, hold_s: float, sample_rate: int) -> Signal:
        """The amplitude of a note that is held for a time, at each of n samples: (n,)."""
        t = time_axis(n, sample_rate)
        decaying = self.sustain + (1 - self.sustain) * decay(np.maximum(t - self.attack_s, 0), self.decay_s)
        held: Signal = np.minimum(t / self.attack_s, decaying)
        return held * ramp_down(t, hold_s, self.release_s) ** 2


class LowPass(NamedTuple):
    """A low-pass filter of 24 dB per octave whose cutoff frequency moves during the note."""

    start_hz: float  # Cutoff frequency when the note starts.
    end_hz: float  # Cutoff frequency that the filter approaches.
    sweep_s: float  # Time constant of that approach.
    resonance: float = 0.0  # How much the gain at the cutoff frequency is raised.

    def cutoffs(self) -> Signal:
        """The cutoff frequencies of the wavetables, from end_hz to start_hz in equal musical intervals: (tables,)."""
        tables = CUTOFF_STEPS if self.start_hz != self.end_hz else 1
        cutoffs_hz: Signal = np.exp(np.linspace(np.log(self.end_hz), np.log(self.start_hz), tables))
        return cutoffs_hz

    def table_at(self, t: Signal) -> npt.NDArray[np.int64]:
        """The number of the wavetable that sounds at each time t in seconds, (n,)."""
        if self.start_hz == self.end_hz:
            return np.zeros(len(t), np.int64)
        return (decay(t, self.sweep_s) * (CUTOFF_STEPS - 1)).astype(np.int64)

    def gain(self, frequency_hz: Signal) -> Signal:
        """The gain of each cutoff frequency's filter at frequencies (k,): (tables, k)."""
        ratio = frequency_hz / self.cutoffs()[:, None]
        bump: Signal = np.exp(-((4 * np.log(ratio)) ** 2))  # As high as 1 at the cutoff frequency, less around it.
        return (1 / (1 + ratio**4)) * (1 + self.resonance * bump)


WIDE_OPEN = LowPass(20_000, 20_000, 1)  # The filter of an instrument that needs none: nearly everything passes.


@dataclass(frozen=True)
class WavetableSynth:
    """A sustained tone: oscillators of one spectrum through a low-pass filter and an amplitude envelope.

    One period of the tone is computed for each cutoff frequency of the filter, without the partials that would alias.
    A note reads it over and over, at the speed that gives its pitch.
    """

    oscillator: str  # A name in SPECTRA.
    envelope: Envelope
    low_pass: LowPass = WIDE_OPEN
    unison: int = 1  # Number of oscillators that sound together.
    detune_cents: float = 10  # The oscillators' pitches are spread this far up and down.
    vibrato_cents: float = 0  # Depth of the vibrato to either side.
    glide_cents: float = 0  # How far below its pitch a note starts.
    vowel: str = ""  # A name in VOWELS, whose formants shape the spectrum; empty: none.
    breath: float = 0  # Level of the noise of breath around the pitch.

    def render(self, pitch_hz: float, hold_s: float, rng: np.random.Generator, sample_rate: int) -> Signal:
        """Render one note, as Voice.render."""
        n = int((hold_s + self.envelope.release_s) * sample_rate)
        t = time_axis(n, sample_rate)
        tables, table = self._tables(pitch_hz, sample_rate), self.low_pass.table_at(t)
        elapsed = self._elapsed(t, rng)
        out = np.zeros(n, np.float32)
        for spread in np.linspace(-1, 1, self.unison) if self.unison > 1 else (0.0,):
            step = pitch_hz * 2 ** (spread * self.detune_cents / 1200) / sample_rate * WAVETABLE_SAMPLES
            phase = (elapsed * step + rng.integers(WAVETABLE_SAMPLES)).astype(np.int64) % WAVETABLE_SAMPLES
            out += tables[table, phase]
        if self.breath:
            noise = rng.standard_normal(n).astype(np.float32)
            out += self.breath * band_pass(noise, pitch_hz, 3 * pitch_hz, sample_rate)
        unison_gain = np.float64(math.sqrt(self.unison))  # Oscillators of unlike phase add up in power.
        return out / unison_gain * self.envelope.curve(n, hold_s, sample_rate)

    def _elapsed(self, t: Signal, rng: np.random.Generator) -> Signal:
        """How many samples of a steady pitch have passed at each time t, where vibrato and glide bend the pitch."""
        cycles = rng.uniform(*VIBRATO_HZ) * t + rng.random()
        vibrato = ramp_up(t, VIBRATO_ONSET_S) * np.sin(2 * np.pi * cycles)
        cents = self.vibrato_cents * vibrato - self.glide_cents * decay(t, GLIDE_S)
        if not cents.any():
            return np.arange(len(t), dtype=np.float64)
        return np.cumsum(2 ** (cents / 1200), dtype=np.float64)

    def _tables(self, pitch_hz: float, sample_rate: int) -> Signal:
        """One period for each cutoff frequency of the filter: (tables, WAVETABLE_SAMPLES).

        The phase of partial k grows with k squared, which spreads the tone's energy over the period; with equal phases
        there would be one click in it. (After Schroeder, "Synthesis of low-peak-factor signals", 1970.)
        """
        k = np.arange(1, min(int(MAX_PARTIAL * sample_rate / pitch_hz), WAVETABLE_SAMPLES // 4) + 1)
        amplitude = SPECTRA[self.oscillator](k)
        if self.vowel:
            amplitude = amplitude * _formant_gain(VOWELS[self.vowel], k * pitch_hz)
        filtered = amplitude * self.low_pass.gain(k * pitch_hz)
        spectrum = np.zeros((len(filtered), WAVETABLE_SAMPLES // 2 + 1), np.complex64)
        spectrum[:, 1 : len(k) + 1] = filtered * np.exp(2j * np.pi * (GOLDEN_RATIO * k * k % 1))
        return np.fft.irfft(spectrum).astype(np.float32) * WAVETABLE_SAMPLES / 3  # Brings the level to about 1.


def _formant_gain(formants: tuple[Formant, ...], frequency_hz: Signal) -> Signal:
    """The gain of a vowel at frequencies (k,): a bell curve around each formant, over a floor of 0.04.

    A curve falls to 1/e at a distance of 60 Hz and a tenth of the formant's frequency.
    """
    curves = (gain * np.exp(-(((frequency_hz - hz) / (60 + 0.1 * hz)) ** 2)) for hz, gain in formants)
    return 0.04 + sum(curves, np.zeros(len(frequency_hz)))
