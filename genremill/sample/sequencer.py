"""Chords and patterns to a mix."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from genremill.sample.synth import PEAK, TAKES, VOICES, band_pass, fast_size, time_axis

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
        x = band_pass(np.tanh(part.drive * x), 90, 4200, rate)
    if part.echo:
        step, dry = int(0.75 * beat_s * rate), x
        x = x.copy()
        for i in range(1, 6):
            x[i * step :] += part.echo**i * dry[: max(0, len(x) - i * step)]
    if part.pump:
        x = x * (1 - part.pump * np.exp(-(time_axis(len(x), rate) % beat_s) / (0.3 * beat_s)))
    return (part.gain * x).astype(np.float32)


def _reverb(x: np.ndarray, seconds: float, rng: np.random.Generator, rate: int) -> np.ndarray:
    """The echo of a room, (2, n): x convolved with noise that dies away."""
    tail = int(seconds * rate)
    t = time_axis(tail, rate)
    noise = rng.standard_normal((2, tail)).astype(np.float32) * np.exp(-4 * t / seconds) / (tail / 8) ** 0.5
    n = fast_size(len(x) + tail)
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
