"""A small sample music library, composed here: something to run genremill on where no music is at hand.

Sound is built bottom up: voices (wavetable, struck string, struck bar, drum) render one note; a style is data, chords
and patterns for voices; `compose_track` plays a style; `write_track` encodes. Patterns are one bar long, any number of
equal steps, bars separated by `|` and repeated: `.` rest, `-` hold, a digit a tone of the bar's chord, `c` the chord,
`g` the chord as a guitar plays it, `p` a power chord, `m` the next note of a melody; for drums `x`, `X` loud, `o` soft.

    python -m sample FOLDER
"""

import argparse
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import av
import numpy as np
import soundfile
from mutagen.easymp4 import EasyMP4
from mutagen.flac import FLAC
from mutagen.id3 import TALB, TCON, TIT2, TPE1
from mutagen.mp3 import EasyMP3
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

PEAK = 0.9  # no track is louder
TABLE = 2048  # samples of a wavetable's period
TAKES = 2  # renderings of one note, so that a human does not repeat himself exactly
LEVELS = 24  # brightness steps of a wavetable
PLAYABLE = (".wav", ".flac", ".ogg", ".mp3", ".m4a")

Voice = Callable[[float, float, np.random.Generator, int], np.ndarray]  # hz, seconds, rng, rate -> mono


# --- Voices: one note each ------------------------------------------------------------------------------------------


def _seconds(n: int, rate: int) -> np.ndarray:
    return np.arange(n, dtype=np.float32) / np.float32(rate)


def _fast_size(n: int) -> int:
    """A length of at least n that an FFT likes."""
    power = 1 << (n - 1).bit_length()
    return next(size for size in (power // 8 * 5, power // 4 * 3, power // 8 * 7, power) if size >= n)


def _band(x: np.ndarray, low_hz: float, high_hz: float, rate: int) -> np.ndarray:
    """What of x (n,) lies between two frequencies, with slopes of 12 dB an octave."""
    n = _fast_size(len(x))
    hz = np.fft.rfftfreq(n, 1 / rate).astype(np.float32) + 1e-3
    gain = 1 / ((1 + (hz / high_hz) ** 2) * (1 + (low_hz / hz) ** 2))
    return np.fft.irfft(np.fft.rfft(x, n) * gain, n)[: len(x)].astype(np.float32)


def _adsr(n: int, hold_s: float, shape: tuple[float, float, float, float], rate: int) -> np.ndarray:
    """Attack and decay in seconds, sustain level, release in seconds, as a curve (n,)."""
    attack, decay, sustain, release = shape
    t = _seconds(n, rate)
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
        t = _seconds(n, rate)
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
            out += self.breath * _band(rng.standard_normal(n).astype(np.float32), hz, 3 * hz, rate)
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
        t = _seconds(n, rate)
        if self.knock:
            burst = rng.standard_normal(min(n, rate // 20)).astype(np.float32)
            out[: len(burst)] += self.knock * _band(burst, 200, 4000, rate) * np.exp(-t[: len(burst)] / 0.008)
        return out * np.minimum(t / 0.001, 1) * np.clip(1 - (t - seconds) / self.release_s, 0, 1)

    def _string(self, hz: float, n: int, rng: np.random.Generator, rate: int) -> np.ndarray:
        period = _fast_size(max(int(np.ceil(rate / hz)), 8))
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
        t = _seconds(int((seconds + self.release_s) * rate), rate)
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
        t = _seconds(int(6 * max(tone_s * (gain > 0), noise_s * (noise > 0)) * rate), rate)
        turns = end_hz * (t + (self.fall - 1) * fall_s * (1 - np.exp(-t / fall_s)))
        out = gain * np.sin(2 * np.pi * turns) * np.exp(-t / tone_s)
        if noise:
            grain = rng.standard_normal(len(t)).astype(np.float32)
            for ratio in (2.1, 3.3, 4.1, 5.4, 6.8, 8.3) if self.metal else ():
                grain += self.metal * np.sign(np.sin(2 * np.pi * (1000 * ratio + rng.uniform(0, 40)) * t))
            out += noise * _band(grain, low, high, rate) * np.exp(-t / noise_s)
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


# --- The sequencer: chords and patterns to a mix ---------------------------------------------------------------------

QUALITIES = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "5": (0, 7),
    "sus": (0, 5, 7),
    "6": (0, 4, 7, 9),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m9": (0, 3, 7, 10, 14),
    "9": (0, 4, 7, 10, 14),
    "x": (0, 1, 6, 11),
}
SCALES = {
    "major": (0, 2, 4, 7, 9),
    "minor": (0, 3, 5, 7, 10),
    "full": (0, 2, 4, 5, 7, 9, 11),
    "blues": (0, 3, 5, 6, 7, 10),
}
SHAPES = {"c": (0, 1, 2, 3, 4), "p": (0, 2, 3), "g": (0, 2, 3, 4, 5)}  # which tones of a triad, going up
LOUDNESS = {"X": 1.2, "o": 0.4}
MOTIFS = (0, 1, 0, 2)  # which bars of a melody are the same


@dataclass(frozen=True)
class Part:
    """One instrument: its voice, its pattern, and what its channel of the mixer does."""

    voice: str
    pattern: str
    gain: float = 0.5
    octave: int = 0
    pan: float = 0.0  # -1 left, 1 right
    wide: bool = False  # the right channel comes 11 ms late
    strum_s: float = 0.0  # between the strings of a chord
    drive: float = 0.0  # distortion, behind it a loudspeaker
    echo: float = 0.0  # gain of repeats, three sixteenths apart
    room: float = 0.15  # how much goes into the reverb
    pump: float = 0.0  # how far it ducks on every beat


@dataclass(frozen=True)
class Style:
    """A piece as data. Called with (seconds, rng, rate), it plays: float32 (n, 2), peak at most PEAK."""

    bpm: float
    chords: str  # one a bar, repeated
    parts: tuple[Part, ...]
    scale: str
    genre: str  # for the tags of a file
    beats: int = 4
    loose_s: float = 0.004  # how late or early a human plays
    reverb_s: float = 1.2
    loudness: float = 0.18  # root mean square before the limiter

    def __call__(self, seconds: float, rng: np.random.Generator, rate: int) -> np.ndarray:
        n, beat_s = round(seconds * rate), 60 / self.bpm / rng.uniform(0.97, 1.03)
        key = int(rng.integers(-2, 3))
        mix, wet = np.zeros((2, n), np.float32), np.zeros(n, np.float32)
        for part in self.parts:
            channel = _effects(self._play(part, n, beat_s, key, rng, rate), part, beat_s, rate)
            late = np.concatenate((np.zeros(rate // 90, np.float32), channel))[:n] if part.wide else channel
            mix += np.stack((channel * min(1, 1 - part.pan), late * min(1, 1 + part.pan)))
            wet += part.room * channel
        return _master(mix + _reverb(wet, self.reverb_s, rng, rate), self.loudness, rate)

    def _play(self, part: Part, n: int, beat_s: float, key: int, rng: np.random.Generator, rate: int) -> np.ndarray:
        """The notes of a part on one channel, (n,). A note that recurs has TAKES renderings; a machine has one."""
        out, rendered = np.zeros(n, np.float32), {}
        for start_s, hold_s, note, loudness in self._notes(part, n / rate, beat_s, key, rng):
            shape = (note, round(hold_s, 3), rng.integers(TAKES) if self.loose_s > 0.002 else 0)
            if shape not in rendered:
                rendered[shape] = VOICES[part.voice](440 * 2 ** ((note - 69) / 12), hold_s, rng, rate)
            at = max(0, int((start_s + rng.normal(0, self.loose_s)) * rate))
            sound = rendered[shape][: max(0, n - at)]
            out[at : at + len(sound)] += loudness * rng.uniform(0.85, 1.0) * sound
        return out

    def _notes(self, part: Part, seconds: float, beat_s: float, key: int, rng: np.random.Generator) -> Iterator[tuple]:
        """(start in s, length in s, MIDI note, loudness) of everything that a part plays."""
        bars, chords, bar_s = part.pattern.split("|"), self.chords.split(), self.beats * beat_s
        tunes = rng.integers(0, 2**31, 3)
        for bar in range(int(seconds / bar_s) + 1):
            steps, tones = bars[bar % len(bars)], _chord_tones(chords[bar % len(chords)])
            step_s, tune = bar_s / len(steps), np.random.default_rng(tunes[MOTIFS[bar % 4]])
            degree = int(tune.integers(4, 9))
            for i, char in enumerate(steps):
                if char in ".-":
                    continue
                held = len(steps[i + 1 :]) - len(steps[i + 1 :].lstrip("-")) + 1
                degree = int(np.clip(degree + tune.integers(-2, 3), 1, 12))
                for string, note in enumerate(_pitches(char, tones, SCALES[self.scale], _root(chords[0]), degree)):
                    start_s = bar * bar_s + i * step_s + string * part.strum_s
                    yield start_s, held * step_s * 0.97, note + key + 12 * part.octave, LOUDNESS.get(char, 0.8)


def _root(chord: str) -> int:
    """MIDI note of a chord's root, in the octave below middle C."""
    return 48 + "C.D.EF.G.A.B".index(chord[0]) + (chord[1:2] == "#") - (chord[1:2] == "b")


def _chord_tones(chord: str) -> list[int]:
    """MIDI notes of a chord, going up through four octaves."""
    quality = QUALITIES[chord[1:].lstrip("#b")]
    return [_root(chord) + interval + 12 * octave for octave in range(4) for interval in quality]


def _pitches(char: str, tones: list[int], scale: tuple[int, ...], root: int, degree: int) -> list[int]:
    """The MIDI notes that a pattern's character stands for."""
    if char == "m":
        return [root + scale[degree % len(scale)] + 12 * (degree // len(scale))]
    if char in SHAPES:
        in_octave = sum(tone < tones[0] + 12 for tone in tones)
        return [tones[i] for i in SHAPES[char] if char != "c" or i < max(in_octave, 3)]
    return [tones[int(char)]] if char.isdigit() else [60]


def _effects(x: np.ndarray, part: Part, beat_s: float, rate: int) -> np.ndarray:
    """A part's channel (n,) behind distortion, echo, ducking and its fader."""
    if part.drive:
        x = _band(np.tanh(part.drive * x), 90, 4200, rate)
    if part.echo:
        step, dry = int(0.75 * beat_s * rate), x
        x = x.copy()
        for i in range(1, 6):
            x[i * step :] += part.echo**i * dry[: max(0, len(x) - i * step)]
    if part.pump:
        x = x * (1 - part.pump * np.exp(-(_seconds(len(x), rate) % beat_s) / (0.3 * beat_s)))
    return (part.gain * x).astype(np.float32)


def _reverb(x: np.ndarray, seconds: float, rng: np.random.Generator, rate: int) -> np.ndarray:
    """The echo of a room, (2, n): x convolved with noise that dies away."""
    tail = int(seconds * rate)
    t = _seconds(tail, rate)
    noise = rng.standard_normal((2, tail)).astype(np.float32) * np.exp(-4 * t / seconds) / (tail / 8) ** 0.5
    n = _fast_size(len(x) + tail)
    hz = np.fft.rfftfreq(n, 1 / rate).astype(np.float32)
    spectrum = np.fft.rfft(x, n) / (1 + (hz / 4000) ** 2)  # walls swallow the treble
    return np.stack([np.fft.irfft(spectrum * np.fft.rfft(side, n), n)[: len(x)] for side in noise])


def _master(mix: np.ndarray, loudness: float, rate: int) -> np.ndarray:
    """(2, n) at one loudness, softly limited, faded in and out: float32 (n, 2)."""
    mix *= float(loudness / PEAK / (np.sqrt(np.mean(mix**2)) + 1e-9))
    out = np.ascontiguousarray(PEAK * np.tanh(mix).T)
    ramp = np.linspace(0, 1, min(rate // 50, len(out)), dtype=np.float32)[:, None]
    out[: len(ramp)] *= ramp
    out[len(out) - len(ramp) :] *= ramp[::-1]
    return out


# --- The styles -------------------------------------------------------------------------------------------------------

# A style: name, genre for the tags, beats a minute, chords, scale of melodies; below it voice, gain and pattern of its
# parts; behind both what differs from the defaults of Style and Part. Columns are two spaces apart.
SCORES = """
techno  Techno  133  Am Am Am F  minor  loose_s=0
    kick        1.1   x...x...x...x...                    room=0.03
    hat         0.4   ..x...x...x..ox.
    clap        0.3   ....x.......x..o
    acid        0.5   0.03..0.2.03.0.1                    octave=-1 echo=0.3 pump=0.5
    stab        0.2   ...c......c.....                    octave=1 echo=0.5 room=0.4 pump=0.5

house  House  124  Fm9 Fm9 Ebmaj7 Cm7  minor  loose_s=0.001
    kick        1     x...x...x...x...                    room=0.02
    clap        0.4   ....x.......x...
    open hat    0.3   ..x...x...x...x.                    pan=0.2
    shaker      0.15  x.xxx.xxx.xxx.xx                    pan=-0.4
    synth bass  0.6   ..0-..0-..0-..3-                    octave=-1 pump=0.4
    drawbars    0.12  c..c..c...c..c..                    octave=1 room=0.3 pump=0.6
    singer      0.3   ........m--.m---|................   octave=1 echo=0.4 room=0.4

drum and bass  Drum & Bass  174  Dm Dm Bb C  minor  loose_s=0.002
    kick        1     x.........x.....
    snare       0.8   ....x.......x...|....x..o.o..x..o
    hat         0.3   x.x.x.xxx.x.xxx.                    pan=0.2
    reese       0.5   0-----0-..0-----|0-------..3-2-..   octave=-1
    pad         0.15  c---------------                    octave=1 room=0.5

ambient  Ambient  60  Cmaj7 Am9 Fmaj7 Am9  major  reverb_s=4 loudness=0.1
    pad         0.3   c---------------                    wide=1 room=0.6
    dark pad    0.4   0---------------                    octave=-1 room=0.4
    glass       0.12  ....m-------m---|m-----------....   octave=1 echo=0.6 room=0.8

folk  Folk  109  G Em C D  major  loose_s=0.01 reverb_s=0.4 loudness=0.075
    guitar      0.7   0.4.3.5.2.4.3.5.                    octave=1 pan=-0.2 room=0.05
    guitar      0.1   g-------....g---                    pan=0.4 strum_s=0.018 room=0.1
    flute       0.03  ................|m---m---m-------   octave=1 room=0.3

metal  Metal  209  E5 E5 G5 F5  minor  reverb_s=1.7 loudness=0.2
    rock kick   2.5   xxxxxxxxxxxxxxxx                    room=0.43
    rock snare  1.6   ....x.......x...                    room=0.74
    crash       0.09  x...x...x...x...                    pan=-0.3 room=0.22
    wash        0.07  x.x.x.x.x.x.x.x.                    room=0.61
    electric    0.77  p-p-p-p-p-p-p-p-                    octave=-1 wide=1 drive=42 room=0.02
    fuzz        0.35  p---p-p-p---p---                    wide=1 drive=16 room=0.13
    pick bass   0.93  0000.0000.00000-                    octave=-2 drive=1.5 room=0.55

punk  Punk  184  A D E D  major  loose_s=0.008 loudness=0.22
    rock kick   1.5   x...x.x.x...x.x.                    room=0.3
    rock snare  1.5   ..x...x...x...x.                    room=0.6
    crash       0.2   x...x...x...x...                    room=0.4
    wash        0.07  x...x...x...x...                    room=0.4
    electric    0.9   p-p-p-p-p-p-p-p-                    octave=-1 wide=1 drive=12 room=0.05
    fuzz        0.3   p-------p-------                    wide=1 drive=9 room=0.2
    pick bass   0.8   0-0-0-0-0-0-0-0-                    octave=-2 drive=1.6 room=0.5
    crooner     0.3   m-m-m---m-m-m---|m-m-m-m-m-------   drive=1.5 room=0.3

rock  Rock  122  A G D A  blues  loose_s=0.006 reverb_s=1.8 loudness=0.19
    rock kick   0.4   x.....x.x.......|x.....x.x.x.....
    rock snare  3.0   ....x.......x...                    room=0.6
    hat         0.1   x.x.x.x.x.x.x.x.                    pan=0.3
    crash       0.6   x...............|................   pan=-0.3 room=0.02
    wash        0.07  x...x...x...x...                    room=0.02
    electric    0.4   p-------p-------                    wide=1 drive=4 room=0.3
    electric    2.2   ........m-m-m---|m---m-m-m-------   octave=1 drive=4.6 echo=0.3 room=1.3
    pick bass   0.3   0-0-0-0-0-0-3-2-                    octave=-1 room=0.6
    crooner     0.2   m---m-m-m-------|................   room=0.9

piano ballad  Piano  58  C G Am F  major  loose_s=0.012 reverb_s=1.8 loudness=0.14
    piano       0.25  0-2-4-2-3-2-4-2-                    room=0.4
    piano       0.2   0-------0-------                    room=0.8
    piano       1.0   m-----m-m---m---|m-------m-m-----   octave=1 room=0.6

orchestra  Classical  76  Dm Bb Gm A Dm F C A  full  loose_s=0.015 reverb_s=2.6 loudness=0.12
    strings     0.2   c---------------                    octave=1 wide=1 room=0.5
    cello       0.4   0-------0---2---                    octave=-1 pan=0.3 room=0.4
    strings     0.25  m-----m-m---m---                    octave=2 pan=-0.3 room=0.5
    horn        0.25  ........0---2---                    pan=0.2 room=0.6
    tom         0.3   x...............                    room=0.5

jazz  Jazz  152  Dm7 G7 Cmaj7 A7  full  loose_s=0.01 loudness=0.14
    ride        0.22  x..x.xx..x.x                        pan=0.3
    brush       0.2   ...x.....x..
    upright     0.8   0--1--2--3--|3--2--1--0--           octave=-1
    piano       0.3   ...c.......c|c....c......           pan=-0.3
    sax         0.3   m--m.mm----m|m----m...m--|m-mm-mm----- octave=1 room=0.25

blues  Blues  82  E7 E7 A7 E7 B7 A7 E7 B7  blues  loose_s=0.012 reverb_s=0.41 loudness=0.06
    soft kick   0.53  x..x..x..x..                        room=0.4
    snare       1     ...x.....x..                        room=0.85
    ride        1     x.xx.xx.xx.x                        pan=0.3 room=0.02
    bass        0.35  0--1--2--3--                        octave=-1 room=0.6
    electric    0.15  m-mm--m-....|....m-m-m---           octave=1 pan=-0.2 drive=2.5 room=0.3
    harmonica   0.1   ............|m--m-mm-----           octave=1 room=1.5

reggae  Reggae  76  Am Dm Am Em  minor  loose_s=0.008
    rock kick   0.9   ........x.......
    rim         0.7   ........x.......
    hat         0.25  x.x.x.xox.x.x.xo                    pan=0.3
    muted       0.7   ....g.......g...                    pan=-0.3 strum_s=0.008
    drawbars    0.12  ....c.c.....c.c.                    pan=0.3
    bass        1     0--0--2-..3-2-0-|0-----....2-3-2-   octave=-1 room=0.02
    crooner     0.3   m---m-m-m---....|................   room=0.2

hip hop  Hip-Hop  91  Dm9 Dm9 Gm7 Am7  minor  loose_s=0.01 loudness=0.3
    boom        1.8   x......x..x.....|x..x......x..x..   room=0.3
    snare       0.3   ....X.......X...                    room=0.2
    hat         0.29  x.xxx.x.x.xxx.x.                    pan=0.2 room=0.5
    sub         0.45  0------3..0-----                    octave=-2 room=0.36
    crackle     0.6   o..x.o.....o..o.|..o....x.o......   room=1.5
    crooner     0.55  mmm.mm.mmmm.m.m.|mm.mmm.m.mmmm...   room=0.5

funk  Funk  108  E9 E9 A9 E9  blues  reverb_s=0.74 loudness=0.11
    rock kick   1.1   x..x..x...x.....|x..x......x..x..   room=1.2
    snare       0.5   ....x..o.o..x..o                    room=0.35
    slap        1.5   0..3.0.2..0.13..|0..30..3.20..1..   octave=-1 room=0.5
    muted       0.5   cc.ccc.cc.c.cc.c                    pan=-0.4 strum_s=0.005 room=1
    clavinet    0.3   ..0.3..2.0..3.1.                    pan=0.4
    brass       0.1   ........c-.c....|................   octave=1 room=0.3

synth pop  Synth-pop  122  Am F C G  major  loose_s=0.001 reverb_s=2 loudness=0.1
    kick        0.56  x...x...x...x...                    room=0.67
    rock snare  0.92  ....x.......x...                    room=0.6
    hat         0.7   x.x.x.x.x.x.x.x.                    room=0.54
    synth bass  0.17  0.3.0.3.0.3.0.3.                    octave=-1 room=1.2
    supersaw    0.42  c-----c-..c-----                    octave=1 wide=1 room=0.65
    singer      0.1   m-m-m---m-m-m---                    octave=1 room=0.56

chiptune  Chiptune  150  C Am F G  full  loose_s=0 loudness=0.15
    chip        0.4   m.mmm.m.m.mmm-..                    octave=1 pan=0.2 room=0
    chip pulse  0.25  0123012301230123                    octave=1 pan=-0.2 room=0
    chip bass   0.6   0.0.3.0.0.0.3.2.                    octave=-1 room=0
    blip        0.4   o...x...o...x.x.                    room=0

choir  Choral  58  F Dm Bb C F Am Gm C  full  loose_s=0.03 reverb_s=3.5 loudness=0.11
    choir       0.3   c-------c-------                    octave=1 wide=1 room=0.7
    deep choir  0.5   0-------2-------                    room=0.6
    choir       0.25  m---m---m-------                    octave=1 pan=-0.3 room=0.8

organ  Organ  72  Dm Gm A Dm Bb Gm A D  full  reverb_s=4 loudness=0.12
    pipes       0.2   0-3-2-3-4-3-2-3-|m-m-m-m-m-m-m---   octave=1 room=0.6
    pipes       0.12  c-------c-------                    room=0.6
    pipes       0.25  0---------------                    octave=-1 room=0.5

bossa nova  Bossa Nova  106  Dm9 G7 Cmaj7 A7  full  loose_s=0.008 reverb_s=0.8 loudness=0.15
    shaker      0.3   x.xxx.xxx.xxx.xx                    pan=0.4 room=0.6
    nylon       0.15  c..c..c.c..c..c.|..c..c..c.c..c..   strum_s=0.006 room=0.5
    upright     0.2   0-----2-2-----0-                    octave=-1 room=0.9
    flute       0.34  m---m-m-----m---|m-------........   octave=1 room=0.44

country  Country  129  G C G D  major  loose_s=0.008 loudness=0.13
    soft kick   0.7   x.......x.......                    room=1.2
    brush       0.23  ....x.x.....x.xx                    room=0.9
    bass        0.5   0-------2-------
    guitar      0.64  ....g.g.....g.g.                    pan=0.4 strum_s=0.012 room=1.1
    banjo       0.28  0.3.2.4.3.2.0.2.                    octave=2 pan=-0.4 room=0.5
    twang       1.1   m-m-m-m-m---....|....m-m-m-m-m---   pan=-0.1 room=0.4
    crooner     0.86  m---m-m-m-------|m---m---........   room=0.5

trance  Trance  138  Am F G Em  minor  loose_s=0 loudness=0.22
    kick        1     x...x...x...x...                    room=0.02
    clap        0.4   ....x.......x...
    open hat    0.3   ..x...x...x...x.                    pan=0.2
    synth bass  0.6   ..00..00..00..00                    octave=-1 pump=0.6
    supersaw    0.3   0120132013201321                    octave=1 wide=1 echo=0.5 room=0.4
    supersaw    0.12  c---------------                    octave=1 room=0.4 pump=0.8

dub  Dub  70  Em Em Am Em  minor  reverb_s=2.5
    boom        0.9   x.......x.......
    rim         0.6   ....x.......x...                    echo=0.65 room=0.6
    hat         0.2   ..x...x...x...x.                    echo=0.3
    sub         0.9   0--0..3-..2-0---|0-----....2-3-..   octave=-1 room=0
    stab        0.35  ....c...........|............c...   echo=0.7 room=0.7

noise  Experimental  51  Cx Cx F#x Cx  major  loose_s=0.2 reverb_s=1.8 loudness=0.11
    gust        0.15  x...x...                            wide=1 room=0.5
    scrape      0.7   ..x....x|x....x..                   echo=0.6 room=0.6
    reese       0.27  c-------                            octave=-2 drive=6 room=0.6
    bell        0.05  ...0..2.|.1....3.                   octave=1 echo=0.6 room=0.6

waltz  Waltz  168  G D7 Em C G Am D7 G  full  beats=3 loose_s=0.01 loudness=0.13
    accordion   0.25  m---m-m-----|m-----m---m-           octave=1 pan=-0.2
    accordion   0.15  ....c...c...                        pan=0.2
    upright     0.8   0---........                        octave=-1
    guitar      0.3   ....g...g...                        strum_s=0.008

minimalism  Minimalism  126  Em Em G Em  minor  loudness=0.11
    marimba     0.5   02131203                            octave=1 pan=-0.5 room=0.3
    marimba     0.5   0.2.3.1.2.0.                        octave=1 pan=0.5 room=0.3
    vibraphone  0.3   m-------m---....                    octave=1 room=0.4

soul  Soul  77  Fmaj7 Em7 Dm7 Cmaj7  major  loose_s=0.012 reverb_s=1.8 loudness=0.17
    rock kick   4     x.......x.......                    room=0.02
    snare       1.3   ....x.......x..o                    room=0.2
    hat         0.23  x.x.x.x.x.x.x.x.                    pan=0.3
    bass        0.2   0--0..2-0-..3-2-                    room=1
    tine        0.1   c-------c---c---                    pan=-0.3
    singer      0.5   m---m-m-m-----m-|m-m-m-----------   octave=1 room=0.57
"""


def _read_scores(text: str) -> dict[str, Style]:
    styles = {}
    for score in text.strip().split("\n\n"):
        header, *lines = (re.split("  +", line.strip()) for line in score.splitlines())
        name, genre, bpm, chords, scale, *options = header
        parts = tuple(Part(voice, pattern, float(gain), **_options(*rest)) for voice, gain, pattern, *rest in lines)
        styles[name] = Style(float(bpm), chords, parts, scale, genre, **_options(*options))
    return styles


def _options(text: str = "") -> dict[str, float]:
    """`pan=0.3 room=0` as keyword arguments."""
    return {name: json.loads(value) for name, value in (pair.split("=") for pair in text.split())}


STYLES: dict[str, Style] = _read_scores(SCORES)


def compose_track(style: str, seconds: float, seed: int, sample_rate: int = 44_100) -> np.ndarray:
    """A piece in one of the STYLES: float32 (n, 2), peak at most 0.9. Equal arguments give equal samples."""
    if style not in STYLES:
        raise ValueError(f"no style {style!r}; there are {', '.join(STYLES)}")
    return STYLES[style](seconds, np.random.default_rng((seed, crc32(style.encode()))), sample_rate)


# --- Files ------------------------------------------------------------------------------------------------------------


class Codec(NamedTuple):
    """An encoder of PyAV."""

    name: str
    container: str
    channel_bit_rate: int  # bit/s
    options: dict[str, str]


AV_CODECS = {  # LAME at this speed takes half of soundfile's time
    ".m4a": Codec("aac", "ipod", 96_000, {"aac_coder": "fast"}),
    ".mp3": Codec("libmp3lame", "mp3", 112_000, {"compression_level": "7"}),
}
SOUNDFILE_OPTIONS = {
    ".mp3": {"bitrate_mode": "CONSTANT", "compression_level": 0.33}
}  # 224 kbit/s, where PyAV has no LAME


def write_track(path: Path, pcm: np.ndarray, sample_rate: int, tags: dict[str, str], **encoding) -> None:
    """Encode pcm, float32 (n,) or (n, channels), as the suffix says, with tags title, artist, album, genre.

    The file appears whole or not at all. `encoding` goes to soundfile: subtype, bitrate_mode, compression_level.
    """
    pcm = pcm.reshape(len(pcm), -1)
    seconds = (pcm[at : at + sample_rate] for at in range(0, len(pcm), sample_rate))
    with _whole(path) as unfinished:
        _encode(unfinished, seconds, sample_rate, pcm.shape[1], path.suffix, encoding)
        _tag(unfinished, tags, path.suffix)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A name to write under, given to the path once nothing can go wrong any more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _encode(path: Path, blocks: Iterable[np.ndarray], rate: int, channels: int, suffix: str, encoding: dict) -> None:
    """Blocks (n, channels) of about a second each: a long MP3 or OGG in one call can crash libsndfile."""
    if suffix not in PLAYABLE:
        raise ValueError(f"cannot write {suffix!r}; there are {', '.join(PLAYABLE)}")
    codec = AV_CODECS.get(suffix)
    if codec and not encoding and codec.name in av.codecs_available:
        _encode_av(path, blocks, rate, channels, codec)
        return
    encoding = encoding or SOUNDFILE_OPTIONS.get(suffix, {})
    with soundfile.SoundFile(path, "w", rate, channels, format=suffix[1:].upper(), **encoding) as file:
        for block in blocks:
            file.write(block)


def _encode_av(path: Path, blocks: Iterable[np.ndarray], rate: int, channels: int, codec: Codec) -> None:
    with av.open(str(path), "w", format=codec.container) as file:
        stream = file.add_stream(
            codec.name, rate=rate, layout="stereo" if channels == 2 else "mono", options=codec.options
        )
        stream.bit_rate, at = codec.channel_bit_rate * channels, 0
        for block in blocks:
            planes = np.ascontiguousarray(block.T, dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=stream.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            at += len(block)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def _tag(path: Path, tags: dict[str, str], suffix: str) -> None:
    if suffix == ".wav":
        file = WAVE(path)
        file.add_tags()
        for name, frame in {"title": TIT2, "artist": TPE1, "album": TALB, "genre": TCON}.items():
            if name in tags:
                file.tags.add(frame(encoding=3, text=tags[name]))
    else:
        file = {".flac": FLAC, ".ogg": OggVorbis, ".mp3": EasyMP3, ".m4a": EasyMP4}[suffix](path)
        file.update(tags)
    file.save()


def compose_long(path: Path, seed: int, seconds: float = 240.0) -> None:
    """Write a stereo track of 44.1 kHz for benchmarks, another one for every seed.

    It is 30 s of a style, read in sections from changing places at changing speed, brightness and loudness.
    """
    rng, rate = np.random.default_rng((seed, 240)), 44_100
    style = list(STYLES)[seed % len(STYLES)]
    loop = compose_track(style, min(30.0, seconds), seed, rate)
    tags = {"title": f"Study {seed}", "artist": "genremill", "album": "Long", "genre": STYLES[style].genre}
    with _whole(path) as unfinished:
        _encode(unfinished, _sections(loop, round(seconds * rate), rng, rate), rate, 2, path.suffix, {})
        _tag(unfinished, tags, path.suffix)


def _sections(loop: np.ndarray, n: int, rng: np.random.Generator, rate: int) -> Iterator[np.ndarray]:
    """n samples of variations on a loop (m, 2), faded into one another, in blocks of at most a second."""
    fade, done, tail = rate // 4, 0, None
    ramp = np.linspace(0, 1, fade, dtype=np.float32)[:, None]
    while done < n:
        length = int(rng.uniform(6, 12) * rate)
        where = (rng.integers(len(loop)) + np.arange(length + fade) * rng.uniform(0.95, 1.05)) % (len(loop) - 1)
        low_hz, high_hz, gain = rng.uniform(5, 120), rng.uniform(5_000, 20_000), rng.uniform(0.6, 1.0)
        sides = (np.interp(where, np.arange(len(loop)), side).astype(np.float32) for side in loop.T)
        section = np.stack([_band(side, low_hz, high_hz, rate) for side in sides], axis=1)
        section = np.clip(gain * section, -PEAK, PEAK)
        if tail is not None:
            section[:fade] = ramp * section[:fade] + (1 - ramp) * tail
        tail, section = section[length:], section[: min(length, n - done)]
        for at in range(0, len(section), rate):
            yield section[at : at + rate]
        done += len(section)


# --- The library ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    """A file of the library: its name says artist, album and title."""

    path: str
    style: str
    seconds: float
    rate: int = 44_100
    channels: int = 2
    seed: int = 0
    encoding: dict = field(default_factory=dict)

    @property
    def tags(self) -> dict[str, str]:
        artist, album, name = self.path.split("/")
        return {"title": Path(name).stem[3:], "artist": artist, "album": album, "genre": STYLES[self.style].genre}


LIBRARY = (
    Item("Kessel Nord/Schichtwechsel/01 Presswerk.mp3", "techno", 20),
    Item("Kessel Nord/Schichtwechsel/02 Night Shuttle.mp3", "trance", 18, 48_000),
    Item("Kessel Nord/Remixes/01 Second Shift.flac", "house", 17),
    Item("Lowtide/Undertow/01 Breakwater.m4a", "drum and bass", 17, 48_000),
    Item("Lowtide/Undertow/02 Slack Water.flac", "ambient", 24, 48_000, encoding={"subtype": "PCM_24"}),
    Item("Lowtide/Undertow/03 Sounding.ogg", "dub", 18),
    Item("Hazel & Rowan/Hedgerow/01 The Miller's Gate.flac", "folk", 18),
    Item("Hazel & Rowan/Hedgerow/02 Barn Waltz.ogg", "waltz", 16, 48_000),
    Item("Hazel & Rowan/Hedgerow/03 Ridge Road.m4a", "country", 17),
    Item(
        "Ironpress/Anvil/01 Slag.mp3",
        "metal",
        17,
        seed=6,
        encoding={"bitrate_mode": "VARIABLE", "compression_level": 0.2},
    ),
    Item("Ironpress/Anvil/02 Clock Off.mp3", "punk", 15),
    Item("Ironpress/Singles/01 Long Way Down.m4a", "rock", 18, seed=8),
    Item("Clara Voss/Nachtstücke/01 Café du Matin.m4a", "piano ballad", 20, 48_000),
    Item("Clara Voss/Nachtstücke/02 Overture in D.flac", "orchestra", 20),
    Item("Clara Voss/Nachtstücke/03 Toccata.wav", "organ", 17, 48_000, 1),
    Item("Clara Voss/Nachtstücke/04 Lux.ogg", "choir", 20),
    Item("The Corner Table/Late Set/01 Blue Lamp.mp3", "jazz", 18),
    Item("The Corner Table/Late Set/02 Third Street Shuffle.wav", "blues", 18, channels=1),
    Item("The Corner Table/Late Set/03 Orla.ogg", "bossa nova", 17),
    Item("Marlon Reed/Sunday Soul/01 Hold the Door.m4a", "soul", 18),
    Item("Marlon Reed/Sunday Soul/02 Pocket Change.mp3", "funk", 17),
    Item("Marlon Reed/Sunday Soul/03 Corner Talk.mp3", "hip hop", 18, 48_000),
    Item("Marlon Reed/Sunday Soul/04 Harbour Light.ogg", "reggae", 18),
    Item("夜行 Express/日本/01 Neon 駅.mp3", "synth pop", 18),
    Item("夜行 Express/日本/02 8-bit 猫.wav", "chiptune", 16, 22_050, 1),
    Item("Atelier Null/Étude/01 Grid.flac", "minimalism", 17),
    Item("Atelier Null/Étude/02 Rust.ogg", "noise", 20, 48_000, 1),
)
DUPLICATE = ("Unsorted/presswerk (1).mp3", LIBRARY[0])  # the same audio under other tags
BROKEN = ("Unsorted/download.mp3", "Unsorted/unfinished.flac")


def compose_library(root: Path) -> list[Path]:
    """Write the sample library under root and return its files, 27 that play, a copy of one, and two broken ones.

    What is there already stays as it is.
    """
    for item in LIBRARY:
        if not (root / item.path).exists():
            pcm = compose_track(item.style, item.seconds, item.seed, item.rate)
            pcm = pcm if item.channels == 2 else pcm.mean(1)
            write_track(root / item.path, pcm, item.rate, item.tags, **item.encoding)
    for name, write in ((DUPLICATE[0], _write_duplicate), *zip(BROKEN, (_write_noise, _write_stub), strict=True)):
        if not (root / name).exists():
            with _whole(root / name) as unfinished:
                write(unfinished, root)
    return [root / name for name in (*(item.path for item in LIBRARY), DUPLICATE[0], *BROKEN)]


def _write_duplicate(path: Path, root: Path) -> None:
    shutil.copyfile(root / DUPLICATE[1].path, path)
    _tag(path, {"title": "presswerk", "artist": "unknown", "album": "unknown", "genre": "Other"}, ".mp3")


def _write_noise(path: Path, root: Path) -> None:
    """Random bytes without 0xFF, so that no decoder takes any of them for the start of a frame."""
    path.write_bytes(np.random.default_rng(13).integers(1, 255, 200_000, dtype=np.uint8).tobytes())


def _write_stub(path: Path, root: Path) -> None:
    """The header of a FLAC file of 3 minutes, 44.1 kHz, stereo, 16 bit; then random bytes without a frame."""
    rate_to_length = 44_100 << 44 | 1 << 41 | 15 << 36 | 180 * 44_100
    header = (4096).to_bytes(2) * 2 + bytes(6) + rate_to_length.to_bytes(8) + bytes(16)
    junk = np.random.default_rng(14).integers(1, 255, 60_000, dtype=np.uint8).tobytes()
    path.write_bytes(b"fLaC" + bytes((0x80, 0, 0, len(header))) + header + junk)


def main() -> None:
    """Compose the library and say what is in it."""
    parser = argparse.ArgumentParser(
        prog="python -m sample", description="Compose a small music library to try things on."
    )
    parser.add_argument("folder", type=Path, help="where to write it; files that are there stay")
    root = parser.parse_args().folder
    files = compose_library(root)
    for suffix, count in sorted(Counter(file.suffix for file in files).items()):
        print(f"{suffix[1:]:5} {count:3} files")
    print(f"{len(files)} files, two of them broken on purpose and one a duplicate, in {root}")


if __name__ == "__main__":
    main()
