"""The sequencer: what each symbol of a pattern becomes, and when."""

import numpy as np
import pytest

from genremill.sample.harmony import parse_chord, parse_scale
from genremill.sample.sequencer import GATE, Note, sequence_part
from genremill.sample.styles import Part, Style


def sequence(*bars: str, seconds: float = 1.99, chords: str = "C", transposition: int = 0, **settings) -> list[Note]:
    """The notes of a part with bars of one second; the first two of these, if nothing else is said."""
    part = Part("piano", 1.0, bars, **settings)
    chords = tuple(map(parse_chord, chords.split()))
    style = Style("", 240, chords, parse_scale("major"), (part,))
    return list(sequence_part(style, part, seconds, 0.25, transposition, np.random.default_rng(5)))


def pitches(*bars: str, **options) -> list[int]:
    return [note.midi_note for note in sequence(*bars, **options)]


@pytest.mark.parametrize(
    ("symbol", "notes"),
    [
        ("0", [48]),
        ("3", [60]),
        ("c", [48, 52, 55]),
        ("p", [48, 55, 60]),
        ("g", [48, 55, 60, 64, 67]),
        ("x", [60]),
        (".", []),
    ],
)
def test_a_symbol_stands_for_notes(symbol, notes):
    assert pitches(symbol, seconds=0.9) == notes


def test_bars_and_chords_are_repeated():
    assert pitches("0", "1", seconds=5.9, chords="C G Am") == [48, 59, 57, 52, 55, 60]


def test_a_part_is_moved_by_octaves_and_with_the_track():
    assert pitches("0", seconds=0.9, octave=-1, transposition=2) == [48 - 12 + 2]


def test_steps_divide_the_bar_and_notes_are_held():
    notes = sequence("0---.00-", seconds=0.9)
    assert [note.start_s for note in notes] == pytest.approx([0, 5 / 8, 6 / 8])
    assert [note.hold_s for note in notes] == pytest.approx([4 / 8 * GATE, 1 / 8 * GATE, 2 / 8 * GATE])


def test_bars_with_other_numbers_of_steps_last_as_long():
    assert [note.start_s for note in sequence("000", "00")] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1.5])


def test_the_strings_of_a_chord_sound_one_after_the_other():
    assert [note.start_s for note in sequence("c", seconds=0.9, strum_s=0.02)] == pytest.approx([0, 0.02, 0.04])


def test_strokes_are_loud_or_soft():
    soft, plain, loud = (note.loudness for note in sequence("oxX", seconds=0.9))
    assert soft < plain < loud


def test_a_melody_has_the_form_a_b_a_c():
    notes = pitches("mmmmmmmm", seconds=3.9)
    first, second, third, fourth = (notes[bar : bar + 8] for bar in range(0, 32, 8))
    assert first == third
    assert first != second
    assert fourth not in (first, second)


def test_a_melody_stays_in_its_scale_and_moves_in_small_steps():
    notes = pitches("m" * 16, seconds=0.9)
    assert len(notes) == 16
    assert {(note - 48) % 12 for note in notes} <= set(parse_scale("major"))
    assert np.abs(np.diff(notes)).max() <= 4
