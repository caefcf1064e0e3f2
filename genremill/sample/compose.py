"""Composing a track: the sequencer's notes are rendered by voices and mixed."""

from collections.abc import Iterable
from zlib import crc32

import numpy as np
import numpy.typing as npt

from genremill.sample.dsp import Signal
from genremill.sample.instruments import INSTRUMENTS
from genremill.sample.mixer import apply_effects, master, place_in_stereo, reverberate
from genremill.sample.sequencer import Note, sequence_part
from genremill.sample.styles import STYLES, Style

TEMPO_RANGE = (0.97, 1.03)  # A track's tempo is that of its style times a random number in this range.
TRANSPOSITIONS = range(-2, 3)  # A track is moved by one of these numbers of semitones.
HUMAN_S = 0.002  # With more than this for `humanize_s`, a style is played by humans, else by machines.
HUMAN_VARIANTS = 2  # Humans do not play a note twice alike: it is rendered so often, and each time one is drawn.
LOUDNESS_RANGE = (0.85, 1.0)  # Each note's loudness is multiplied by a random number in this range.


def compose_track(style: str, seconds: float, seed: int, sample_rate: int = 44_100) -> npt.NDArray[np.float32]:
    """Compose a track in one of the STYLES: stereo samples (n, 2), none of them above PEAK.

    Equal arguments give equal samples. Raises ValueError where there is no such style.
    """
    if style not in STYLES:
        raise ValueError(f"no style {style!r}; there are {', '.join(STYLES)}")
    return _play(STYLES[style], seconds, np.random.default_rng((seed, crc32(style.encode()))), sample_rate)


def _play(style: Style, seconds: float, rng: np.random.Generator, sample_rate: int) -> npt.NDArray[np.float32]:
    """Play a style: what compose_track does, with all that is random drawn from one generator."""
    n = round(seconds * sample_rate)
    beat_s = 60 / style.bpm / rng.uniform(*TEMPO_RANGE)
    transposition = int(rng.integers(TRANSPOSITIONS.start, TRANSPOSITIONS.stop))
    mix, reverb_input = np.zeros((2, n), np.float32), np.zeros(n, np.float32)
    for part in style.parts:
        notes = sequence_part(style, part, n / sample_rate, beat_s, transposition, rng)
        dry = _render(notes, part.instrument, style.humanize_s, n, rng, sample_rate)
        channel = apply_effects(dry, part, beat_s, sample_rate)
        mix += place_in_stereo(channel, part, sample_rate)
        reverb_input += part.reverb * channel
    return master(mix + reverberate(reverb_input, style.reverb_s, rng, sample_rate), style.loudness, sample_rate)


def _render(
    notes: Iterable[Note], instrument: str, humanize_s: float, n: int, rng: np.random.Generator, sample_rate: int
) -> Signal:
    """The notes as an instrument plays them, (n,). A note that recurs is rendered once, or once in each variant."""
    out, rendered = np.zeros(n, np.float32), {}
    variants = HUMAN_VARIANTS if humanize_s > HUMAN_S else 1
    for note in notes:
        key = (note.midi_note, round(note.hold_s, 3), rng.integers(variants) if variants > 1 else 0)
        if key not in rendered:
            pitch_hz = 440 * 2 ** ((note.midi_note - 69) / 12)
            rendered[key] = INSTRUMENTS[instrument].render(pitch_hz, note.hold_s, rng, sample_rate)
        start = max(0, int((note.start_s + rng.normal(0, humanize_s)) * sample_rate))
        sound = rendered[key][: max(0, n - start)]
        out[start : start + len(sound)] += note.loudness * rng.uniform(*LOUDNESS_RANGE) * sound
    return out
