"""Chords and scales as MIDI notes."""

import pytest

from genremill.sample.harmony import parse_chord, parse_scale, scale_note


@pytest.mark.parametrize(
    ("name", "lowest_tones"),
    [
        ("C", [48, 52, 55, 60]),
        ("Am", [57, 60, 64, 69]),
        ("F#", [54, 58, 61, 66]),
        ("Bb5", [58, 65, 70, 77]),
        ("Ebmaj7", [51, 55, 58, 62]),
        ("Dsus", [50, 55, 57, 62]),
        ("E9", [52, 56, 59, 62, 66, 64]),
    ],
)
def test_a_chord_has_the_tones_of_its_name(name, lowest_tones):
    assert parse_chord(name).tones()[: len(lowest_tones)] == lowest_tones


@pytest.mark.parametrize(
    ("name", "tones"),
    [("C", [48, 52, 55]), ("C5", [48, 55, 60]), ("C7", [48, 52, 55, 58]), ("C9", [48, 52, 55, 58])],
)
def test_a_chord_in_close_position_stays_within_an_octave(name, tones):
    assert parse_chord(name).close_position() == tones


@pytest.mark.parametrize("name", ["", "H", "am", "Am13", "C##", "C m"])
def test_a_chord_that_does_not_exist_is_named(name):
    with pytest.raises(ValueError, match=f"no chord '{name}'.*maj7"):
        parse_chord(name)


def test_a_scale_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(ValueError, match=r"no scale 'dorian'.*blues"):
        parse_scale("dorian")


def test_a_scale_goes_on_an_octave_higher():
    scale = parse_scale("major pentatonic")
    assert [scale_note(scale, 60, degree) for degree in (0, 1, 4, 5, 6)] == [60, 62, 69, 72, 74]
