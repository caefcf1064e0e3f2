"""Chords and scales, as MIDI notes: 60 is middle C, and a semitone is 1."""

import re
from typing import NamedTuple

CHORD_INTERVALS = {  # The semitones from a chord's root to each of its tones, by what follows the root in its name.
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
    "x": (0, 1, 6, 11),  # A dissonance without a name.
}
SCALES = {  # The semitones from the key note to each note of a melody's scale.
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "major": (0, 2, 4, 5, 7, 9, 11),
    "blues": (0, 3, 5, 6, 7, 10),
}
CHORD_OCTAVES = 4  # Octaves in which a chord's tones are counted.
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}  # From C up to each note.
LOWEST_ROOT = 48  # The MIDI note of the C in whose octave, below middle C, all roots lie.


class Chord(NamedTuple):
    """A chord."""

    root: int  # The MIDI note of its root, in the octave below middle C.
    intervals: tuple[int, ...]  # The semitones from the root to each tone.

    def tones(self) -> list[int]:
        """The MIDI notes of the chord, tone by tone, in one octave after the other."""
        return [self.root + interval + 12 * octave for octave in range(CHORD_OCTAVES) for interval in self.intervals]

    def close_position(self) -> list[int]:
        """The MIDI notes of the chord's tones within an octave above its root, or of its first three tones."""
        within_octave = sum(interval < 12 for interval in self.intervals)
        return self.tones()[: max(3, within_octave)]


def parse_chord(name: str) -> Chord:
    """The chord of a name such as `Am7` or `F#`. Raises ValueError where there is no such chord."""
    match = re.fullmatch(r"([A-G])([#b]?)(.*)", name)
    if not match or match[3] not in CHORD_INTERVALS:
        raise ValueError(f"no chord {name!r}; after A to G, # and b come {', '.join(filter(None, CHORD_INTERVALS))}")
    accidental = {"": 0, "#": 1, "b": -1}[match[2]]
    return Chord(LOWEST_ROOT + SEMITONES[match[1]] + accidental, CHORD_INTERVALS[match[3]])


def parse_scale(name: str) -> tuple[int, ...]:
    """The semitones of the scale of a name. Raises ValueError where there is no such scale."""
    if name not in SCALES:
        raise ValueError(f"no scale {name!r}; there are {', '.join(SCALES)}")
    return SCALES[name]


def scale_note(scale: tuple[int, ...], key_note: int, degree: int) -> int:
    """The MIDI note that is `degree` steps of a scale above its key note."""
    octave, step = divmod(degree, len(scale))
    return key_note + scale[step] + 12 * octave
