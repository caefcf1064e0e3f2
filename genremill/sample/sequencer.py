"""The sequencer: turns the chords and patterns of a style into notes."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from genremill.sample.harmony import Chord, scale_note
from genremill.sample.styles import HOLD, MELODY, REST, STROKES, TONES, VOICINGS, WHOLE_CHORD, Part, Style

MELODY_FORM = (0, 1, 0, 2)  # The motif of each of four bars, which is the song form A B A C.
MOTIFS = max(MELODY_FORM) + 1  # Motifs of a melody.
LOWEST_DEGREE, HIGHEST_DEGREE = 1, 12  # The range of a melody, in steps of its scale above the key note.
FIRST_DEGREES = (4, 9)  # A bar of melody starts from one of these degrees; the second is excluded.
LARGEST_LEAP = 2  # Most steps of the scale from one note of a melody to the next.
GATE = 0.97  # Share of its time that a note is held, so that the next one is heard to start.
TONE_LOUDNESS = 0.8  # Loudness of every note that is no drum's.
DRUM_NOTE = 60  # The MIDI note of drums, to which it makes no difference.


class Note(NamedTuple):
    """A note of a part."""

    start_s: float  # Since the start of the track.
    hold_s: float  # Time until it is released.
    midi_note: int
    loudness: float


def sequence_part(
    style: Style, part: Part, seconds: float, beat_s: float, transposition: int, rng: np.random.Generator
) -> Iterator[Note]:
    """The notes of a part in a track of so many seconds, all moved up by so many semitones.

    The last notes may start or end after the track.
    """
    bar_s = style.beats * beat_s
    shift = transposition + 12 * part.octave
    motif_seeds = rng.integers(0, 2**31, MOTIFS)
    for bar in range(int(seconds / bar_s) + 1):
        steps, chord = part.bars[bar % len(part.bars)], style.chords[bar % len(style.chords)]
        step_s = bar_s / len(steps)
        melody = _random_melody(style, int(motif_seeds[MELODY_FORM[bar % len(MELODY_FORM)]]))
        for step, symbol in enumerate(steps):
            if symbol in (REST, HOLD):
                continue
            pitches = _pitches(symbol, chord, melody_note=next(melody))
            for string, pitch in enumerate(pitches):
                start_s = bar * bar_s + step * step_s + string * part.strum_s
                loudness = STROKES.get(symbol, TONE_LOUDNESS)
                yield Note(start_s, _held_steps(steps, step) * step_s * GATE, pitch + shift, loudness)


def _random_melody(style: Style, seed: int) -> Iterator[int]:
    """The MIDI notes of a melody without end: a random walk on the scale of the style. Equal seeds give equal notes."""
    rng = np.random.default_rng(seed)
    degree = int(rng.integers(*FIRST_DEGREES))
    while True:
        leap = int(rng.integers(-LARGEST_LEAP, LARGEST_LEAP + 1))
        degree = min(max(degree + leap, LOWEST_DEGREE), HIGHEST_DEGREE)
        yield scale_note(style.scale, style.chords[0].root, degree)


def _held_steps(steps: str, start: int) -> int:
    """How many steps a note lasts that starts at this step: its own, and those that hold it."""
    after = steps[start + 1 :]
    return 1 + len(after) - len(after.lstrip(HOLD))


def _pitches(symbol: str, chord: Chord, melody_note: int) -> list[int]:
    """The MIDI notes that a symbol of a pattern stands for."""
    if symbol == MELODY:
        return [melody_note]
    if symbol == WHOLE_CHORD:
        return chord.close_position()
    if symbol in VOICINGS:
        return [chord.tones()[number] for number in VOICINGS[symbol]]
    return [chord.tones()[int(symbol)]] if symbol in TONES else [DRUM_NOTE]
