"""Voices: one note each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PEAK = 0.9  # no track is louder
TABLE = 2048  # samples of a wavetable's period
TAKES = 2  # renderings of one note, so that a human does not repeat himself exactly
LEVELS = 24  # brightness steps of a wavetable
Voice = Callable[[float, float, np.random.Generator, int], np.ndarray]  # hz, seconds, rng, rate -> mono


def time_axis(n: int, rate: int) -> np.ndarray:
    return np.arange(n, dtype=np.float32) / np.float32(rate)


def fast_size(n: int) -> int:
    """A length of at least n that an FFT likes."""
    power = 1 << (n - 1).bit_length()
    return next(size for size in (power // 8 * 5, power // 4 * 3, power // 8 * 7, power) if size >= n)


def band_pass(x: np.ndarray, low_hz: float, high_hz: float, rate: int) -> np.ndarray:
    """What of x (n,) lies between two frequencies, with slopes of 12 dB an octave."""
    n = fast_size(len(x))
    hz = np.fft.rfftfreq(n, 1 / rate).astype(np.float32) + 1e-3
    gain = 1 / ((1 + (hz / high_hz) ** 2) * (1 + (low_hz / hz) ** 2))
    return np.fft.irfft(np.fft.rfft(x, n) * gain, n)[: len(x)].astype(np.float32)


def _adsr(n: int, hold_s: float, shape: tuple[float, float, float, float], rate: int) -> np.ndarray:
    """Attack and decay in seconds, sustain level, release in seconds, as a curve (n,)."""
    attack, decay, sustain, release = shape
    t = time_axis(n, rate)
    held = np.minimum(t / attack, sustain + (1 - sustain) * np.exp(-np.maximum(t - attack, 0) / decay))
    return held * np.clip(1 - (t - hold_s) / release, 0, 1) ** 2


SPECTRA: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # amplitude of partial k = 1, 2, ...
    "sine": lambda k: (k == 1) * 1.0,
    "saw": lambda k: 1 / k,
    "square": lambda k: (k % 2) / k,
    "pulse": lambda k: np.sin(np.pi * k * 0.2) / k,
    "triangle": lambda k: (k % 2) / k**2,
    "organ": lambda k: np.isin(k, (1, 2, 3, 4, 6, 8, 16)) / k**0.5,
    "voice": lambda k: 1 / k**0.7,
    "soft": lambda k: 1 / k**2,
}
VOWELS = {  # formants: centre in Hz, gain
    "a": ((750, 1.0), (1200, 0.6), (2700, 0.3), (3500, 0.15)),
    "o": ((450, 1.0), (850, 0.5), (2600, 0.12), (3400, 0.08)),
    "e": ((500, 1.0), (1800, 0.4), (2600, 0.3), (3600, 0.15)),
}


@dataclass(frozen=True)
class Tone:
    """A sustained voice: band-limited partials behind a resonant low-pass that moves during the note."""

    spectrum: str
    adsr: tuple[float, float, float, float] = (0.01, 0.2, 0.8, 0.1)
    cutoff: tuple[float, float, float] = (20_000, 20_000, 1)  # Hz at the start, in the end, seconds of the way
    resonance: float = 0
    unison: int = 1
    detune_cents: float = 10
    vibrato_cents: float = 0
    vowel: str = ""
    breath: float = 0
    glide_cents: float = 0  # how far below its pitch a note starts

    def __call__(self, hz: float, seconds: float, rng: np.random.Generator, rate: int) -> np.ndarray:
        n = int((seconds + self.adsr[3]) * rate)
        t = time_axis(n, rate)
        table, level = self._table(hz, rate), self._level(t)
        wobble = np.minimum(t / 0.5, 1) * np.sin(2 * np.pi * (rng.uniform(4.8, 5.6) * t + rng.random()))
        cents = self.vibrato_cents * wobble - self.glide_cents * np.exp(-t / 0.05)
        bend = np.cumsum(2 ** (cents / 1200), dtype=np.float64) if cents.any() else np.arange(n)
        out = np.zeros(n, np.float32)
        for spread in np.linspace(-1, 1, self.unison) if self.unison > 1 else (0,):
            step = hz * 2 ** (spread * self.detune_cents / 1200) / rate * TABLE
            phase = (bend * step + rng.integers(TABLE)).astype(np.int64) % TABLE
            out += table[level, phase]
        if self.breath:
            out += self.breath * band_pass(rng.standard_normal(n).astype(np.float32), hz, 3 * hz, rate)
        return out / np.sqrt(self.unison) * _adsr(n, seconds, self.adsr, rate)

    def _table(self, hz: float, rate: int) -> np.ndarray:
        """One period at every brightness, (LEVELS or 1, TABLE), without partials above the Nyquist frequency."""
        k = np.arange(1, min(int(0.47 * rate / hz), TABLE // 4) + 1)
        amplitude = SPECTRA[self.spectrum](k)
        if self.vowel:
            formants = (gain * np.exp(-(((k * hz - at) / (60 + 0.1 * at)) ** 2)) for at, gain in VOWELS[self.vowel])
            amplitude = amplitude * (0.04 + sum(formants))
        high, low = np.log(self.cutoff[0]), np.log(self.cutoff[1])
        edge = np.exp(np.linspace(low, high, LEVELS if low != high else 1))[:, None]
        passed = (1 / (1 + (k * hz / edge) ** 4)) * (1 + self.resonance * np.exp(-((4 * np.log(k * hz / edge)) ** 2)))
        spectrum = np.zeros((len(edge), TABLE // 2 + 1), np.complex64)
        spectrum[:, 1 : len(k) + 1] = amplitude * passed * np.exp(2j * np.pi * (0.6180339 * k * k % 1))
        return np.fft.irfft(spectrum).astype(np.float32) * TABLE / 3

    def _level(self, t: np.ndarray) -> np.ndarray:
        start_hz, end_hz, way_s = self.cutoff
        if start_hz == end_hz:
            return np.zeros(len(t), np.int64)
        way = np.exp(-t / way_s)  # from 1, the table of start_hz, to 0, that of end_hz
        return (way * (LEVELS - 1)).astype(np.int64)


@dataclass(frozen=True)
class String:
    """A plucked or struck string (Karplus and Strong): every period is the last one, a little darker."""

    decay_s: float = 2.0
    dark_hz: float = 2500  # partials up here decay twice as fast
    position: float = 0.13  # where it is plucked, as a part of its length
    tilt: float = 0.6  # how fast partials weaken
    knock: float = 0.0  # noise of the hammer or the pick
    release_s: float = 0.06
    unison_cents: float = 0

    def __call__(self, hz: float, seconds: float, rng: np.random.Generator, rate: int) -> np.ndarray:
        n = int((seconds + self.release_s) * rate)
        out = self._string(hz, n, rng, rate)
        if self.unison_cents:
            out += self._string(hz * 2 ** (self.unison_cents / 1200), n, rng, rate)
        t = time_axis(n, rate)
        if self.knock:
            burst = rng.standard_normal(min(n, rate // 20)).astype(np.float32)
            out[: len(burst)] += self.knock * band_pass(burst, 200, 4000, rate) * np.exp(-t[: len(burst)] / 0.008)
        return out * np.minimum(t / 0.001, 1) * np.clip(1 - (t - seconds) / self.release_s, 0, 1)

    def _string(self, hz: float, n: int, rng: np.random.Generator, rate: int) -> np.ndarray:
        period = fast_size(max(int(np.ceil(rate / hz)), 8))
        k = np.arange(1, int(min(period // 2, 0.47 * rate / hz)) + 1)
        start = np.abs(np.sin(np.pi * k * self.position)) / k**self.tilt * np.exp(2j * np.pi * rng.random(len(k)))
        decay = (1 + (k * hz / self.dark_hz)) / self.decay_s / hz  # nepers a period
        periods = np.arange(int(n * hz / rate) + 3, dtype=np.float32)
        spectra = np.zeros((len(periods), period // 2 + 1), np.complex64)
        spectra[:, 1 : len(k) + 1] = start * np.exp(-np.outer(periods, decay.astype(np.float32)))
        flat = np.fft.irfft(spectra, period).astype(np.float32).ravel() * period / 6
        return np.interp(np.arange(n) * (hz * period / rate), np.arange(len(flat)), flat).astype(np.float32)


@dataclass(frozen=True)
class Bar:
    """A struck bar, tine or bell: a few partials, each (ratio, amplitude, decay in seconds)."""

    partials: tuple[tuple[float, float, float], ...]
    tremolo: float = 0
    release_s: float = 0.3

    def __call__(self, hz: float, seconds: float, rng: np.random.Generator, rate: int) -> np.ndarray:
        t = time_axis(int((seconds + self.release_s) * rate), rate)
        out = np.zeros(len(t), np.float32)
        for ratio, amplitude, decay in self.partials:
            if ratio * hz < 0.47 * rate:
                out += amplitude * np.exp(-t / decay) * np.sin(2 * np.pi * ratio * hz * t)
        out *= 1 - self.tremolo * (0.5 + 0.5 * np.sin(2 * np.pi * 5.5 * t))
        return out * np.minimum(t / 0.002, 1) * np.clip(1 - (t - seconds) / self.release_s, 0, 1)


@dataclass(frozen=True)
class Drum:
    """A falling sine and a burst of noise. Pitch and length of the note do not matter."""

    tone: tuple[float, float, float, float] = (
        0,
        0,
        0.03,
        0.1,
    )  # gain, Hz at the end, seconds of the fall, of the decay
    fall: float = 4  # how many times higher it starts
    noise: tuple[float, float, float, float] = (0, 0.1, 200, 8000)  # gain, decay in seconds, band in Hz
    metal: float = 0  # clang of a cymbal
    attack_s: float = 0.0005

    def __call__(self, hz: float, seconds: float, rng: np.random.Generator, rate: int) -> np.ndarray:
        (gain, end_hz, fall_s, tone_s), (noise, noise_s, low, high) = self.tone, self.noise
        t = time_axis(int(6 * max(tone_s * (gain > 0), noise_s * (noise > 0)) * rate), rate)
        turns = end_hz * (t + (self.fall - 1) * fall_s * (1 - np.exp(-t / fall_s)))
        out = gain * np.sin(2 * np.pi * turns) * np.exp(-t / tone_s)
        if noise:
            grain = rng.standard_normal(len(t)).astype(np.float32)
            for ratio in (2.1, 3.3, 4.1, 5.4, 6.8, 8.3) if self.metal else ():
                grain += self.metal * np.sign(np.sin(2 * np.pi * (1000 * ratio + rng.uniform(0, 40)) * t))
            out += noise * band_pass(grain, low, high, rate) * np.exp(-t / noise_s)
        return (out * np.minimum(t / self.attack_s, 1)).astype(np.float32)


VOICES: dict[str, Voice] = {
    "kick": Drum((1.0, 48, 0.03, 0.16), 5, (0.15, 0.006, 800, 8000)),
    "boom": Drum((1.0, 42, 0.05, 0.4), 4, (0.1, 0.004, 500, 5000)),
    "rock kick": Drum((0.9, 60, 0.015, 0.09), 4, (0.5, 0.012, 1500, 6000)),
    "soft kick": Drum((0.7, 62, 0.01, 0.1), 2),
    "snare": Drum((0.5, 185, 0.01, 0.07), 1.6, (0.8, 0.09, 700, 9000)),
    "rock snare": Drum((0.6, 200, 0.01, 0.09), 1.8, (1.2, 0.14, 400, 8000)),
    "clap": Drum(noise=(1.2, 0.1, 900, 3500), attack_s=0.012),
    "hat": Drum(noise=(0.6, 0.03, 7000, 16000), metal=0.2),
    "open hat": Drum(noise=(0.6, 0.18, 6000, 15000), metal=0.3),
    "ride": Drum(noise=(0.35, 0.3, 5000, 12000), metal=0.8),
    "crash": Drum(noise=(0.7, 0.7, 3000, 14000), metal=0.3),
    "wash": Drum(noise=(0.7, 1.2, 800, 9000), metal=0.2),
    "brush": Drum(noise=(0.35, 0.11, 1500, 6000), attack_s=0.04),
    "shaker": Drum(noise=(0.4, 0.035, 5000, 12000), attack_s=0.02),
    "rim": Drum((0.6, 1700, 0.002, 0.012), 1.3, (0.3, 0.01, 1500, 5000)),
    "conga": Drum((0.8, 210, 0.01, 0.1), 1.4, (0.1, 0.01, 500, 3000)),
    "tom": Drum((0.9, 95, 0.04, 0.2), 2, (0.2, 0.03, 300, 3000)),
    "blip": Drum(noise=(0.8, 0.04, 2000, 20000)),
    "gust": Drum(noise=(1.0, 1.2, 200, 900), attack_s=1.5),
    "scrape": Drum((0.4, 333, 0.9, 0.7), 7, (0.8, 0.4, 1200, 3000), metal=1.5, attack_s=0.05),
    "crackle": Drum(noise=(0.5, 0.002, 2000, 9000)),
    "sub": Tone("sine", (0.01, 0.3, 0.9, 0.08)),
    "acid": Tone("saw", (0.003, 0.2, 0.6, 0.03), (3500, 250, 0.09), resonance=4),
    "reese": Tone("saw", (0.01, 0.3, 0.9, 0.06), (900, 250, 0.5), 1, unison=3, detune_cents=25),
    "fuzz": Tone("saw", (0.01, 0.5, 0.9, 0.05), (6000, 3000, 0.5), unison=3, detune_cents=8),
    "stab": Tone("saw", (0.003, 0.12, 0.2, 0.08), (5000, 500, 0.08), 1, unison=3),
    "supersaw": Tone("saw", (0.005, 0.2, 0.7, 0.15), (9000, 3000, 0.3), unison=5, detune_cents=18),
    "pad": Tone("saw", (1.2, 1, 0.9, 1.8), (300, 1600, 2.5), unison=3, detune_cents=8),
    "dark pad": Tone("soft", (1.5, 1, 0.9, 2.0), (250, 900, 3), unison=2, detune_cents=6),
    "glass": Tone("triangle", (0.6, 1, 0.6, 2.0), unison=2, detune_cents=5, vibrato_cents=6),
    "chip": Tone("square", (0.002, 0.1, 0.6, 0.01)),
    "chip pulse": Tone("pulse", (0.002, 0.08, 0.5, 0.01)),
    "chip bass": Tone("triangle", (0.002, 0.1, 0.9, 0.01)),
    "lead": Tone("pulse", (0.01, 0.2, 0.7, 0.12), (6000, 2500, 0.3), vibrato_cents=12),
    "synth bass": Tone("saw", (0.004, 0.15, 0.6, 0.04), (1800, 300, 0.12), 1.5),
    "strings": Tone("saw", (0.15, 0.5, 0.85, 0.35), (1800, 3500, 0.4), unison=3, detune_cents=9, vibrato_cents=10),
    "cello": Tone("saw", (0.1, 0.5, 0.85, 0.3), (1200, 2200, 0.4), unison=2, detune_cents=6, vibrato_cents=12),
    "flute": Tone("soft", (0.06, 0.3, 0.9, 0.1), vibrato_cents=14, breath=0.12),
    "brass": Tone("saw", (0.04, 0.2, 0.8, 0.08), (700, 3500, 0.06), unison=2, detune_cents=6),
    "sax": Tone("saw", (0.04, 0.2, 0.85, 0.08), (1000, 2800, 0.1), vibrato_cents=16, breath=0.08, glide_cents=60),
    "horn": Tone("soft", (0.08, 0.4, 0.85, 0.2), (500, 1500, 0.2), unison=2, detune_cents=4),
    "accordion": Tone("pulse", (0.05, 0.2, 0.9, 0.06), (3500, 3500, 1), unison=2, detune_cents=11),
    "harmonica": Tone("pulse", (0.04, 0.2, 0.9, 0.06), (2500, 4000, 0.2), vibrato_cents=20, glide_cents=90),
    "pipes": Tone("organ", (0.05, 0.3, 0.95, 0.25), unison=2, detune_cents=3),
    "drawbars": Tone("organ", (0.008, 0.1, 0.9, 0.05), (2500, 2500, 1), vibrato_cents=8),
    "choir": Tone("voice", (0.35, 0.5, 0.9, 0.7), vowel="a", unison=4, detune_cents=12, vibrato_cents=14, breath=0.01),
    "deep choir": Tone("voice", (0.35, 0.5, 0.9, 0.7), vowel="o", unison=4, detune_cents=12, vibrato_cents=12),
    "singer": Tone("voice", (0.05, 0.3, 0.9, 0.12), vowel="a", vibrato_cents=30, breath=0.03, glide_cents=120),
    "crooner": Tone("voice", (0.05, 0.3, 0.9, 0.12), vowel="e", vibrato_cents=25, breath=0.03, glide_cents=150),
    "guitar": String(1.6, 2200, 0.15, 0.7, knock=0.2),
    "nylon": String(1.1, 1400, 0.25, 0.9, knock=0.15),
    "twang": String(1.2, 4500, 0.08, 0.4, knock=0.3),
    "banjo": String(0.35, 5000, 0.1, 0.4, knock=0.4),
    "electric": String(2.5, 5000, 0.2, 0.6),
    "muted": String(0.12, 1500, 0.1, 0.5, knock=0.5),
    "chug": String(0.25, 1800, 0.2, 0.5, knock=0.3, release_s=0.02),
    "clavinet": String(0.5, 3500, 0.06, 0.3, knock=0.3, release_s=0.02),
    "slap": String(0.5, 2500, 0.07, 0.5, knock=0.5, release_s=0.03),
    "bass": String(1.2, 900, 0.2, 0.8),
    "pick bass": String(1.2, 2000, 0.12, 0.6, knock=0.3),
    "upright": String(0.6, 600, 0.3, 0.9, knock=0.4),
    "piano": String(1.8, 2600, 0.12, 1.1, knock=0.5, release_s=0.2, unison_cents=1.5),
    "tine": Bar(((1, 0.6, 0.9), (2, 0.1, 0.5), (7, 0.12, 0.1), (14, 0.05, 0.03)), tremolo=0.3),
    "marimba": Bar(((1, 0.7, 0.25), (3.93, 0.25, 0.08), (9.2, 0.1, 0.03))),
    "vibraphone": Bar(((1, 0.6, 1.4), (4, 0.15, 0.5), (10, 0.05, 0.1)), tremolo=0.5),
    "bell": Bar(((0.5, 0.2, 3), (1, 0.4, 2.5), (2.4, 0.3, 1.4), (3.9, 0.2, 0.8), (5.2, 0.1, 0.5)), release_s=2),
}
