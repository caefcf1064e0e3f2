"""The voices: every instrument renders notes, and struck and plucked things sound as they should."""

import numpy as np
import pytest

from genremill.sample.instruments import INSTRUMENTS
from genremill.sample.styles import STYLES
from genremill.sample.synth import Drum, NoiseBurst, Partial, PluckedString, StruckBar, Sweep

RATE = 22_050  # Hz


def render(voice, pitch_hz: float = 220, hold_s: float = 0.5, seed: int = 0) -> np.ndarray:
    return voice.render(pitch_hz, hold_s, np.random.default_rng(seed), RATE)


def strongest_hz(sound: np.ndarray) -> float:
    """The frequency of the strongest partial."""
    return np.abs(np.fft.rfft(sound * np.hanning(len(sound)))).argmax() * RATE / len(sound)


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_an_instrument_sounds_and_starts_and_ends_softly(name):
    sound = render(INSTRUMENTS[name])
    assert sound.ndim == 1
    assert np.isfinite(sound).all()
    assert 0.01 < np.abs(sound).max() < 10
    assert abs(sound[0]) < 0.05
    assert abs(sound[-1]) < 0.05


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_a_note_is_repeatable(name):
    assert np.array_equal(render(INSTRUMENTS[name], seed=3), render(INSTRUMENTS[name], seed=3))


def test_every_instrument_is_in_some_style():
    assert {part.instrument for style in STYLES.values() for part in style.parts} == set(INSTRUMENTS)


@pytest.mark.parametrize("pitch_hz", [82.4, 220, 523.3])
def test_a_string_has_the_pitch_of_its_note(pitch_hz):
    spectrum = np.abs(np.fft.rfft(render(PluckedString(), pitch_hz, 2.0)))
    bins_per_hz = 2.06  # The note is held for 2 s and released for 0.06 s.
    near = [spectrum[round(k * pitch_hz * bins_per_hz) - 2 :][:5].max() for k in (1, 2, 3)]
    between = [spectrum[round((k + 0.5) * pitch_hz * bins_per_hz) - 2 :][:5].max() for k in (1, 2, 3)]
    assert min(near) > 10 * max(between)


def test_high_partials_of_a_string_decay_faster_than_low_ones():
    sound = render(PluckedString(decay_s=1.0), 110, 2.0)
    early, late = (np.abs(np.fft.rfft(part)) ** 2 for part in (sound[: RATE // 2], sound[RATE : 3 * RATE // 2]))
    highs = slice(2500, None)  # From 5 kHz up.
    assert late[highs].sum() / early[highs].sum() < 0.5 * late[:500].sum() / early[:500].sum()


def test_a_string_does_not_have_the_partials_with_a_node_where_it_is_plucked():
    spectrum = np.abs(np.fft.rfft(render(PluckedString(position=1 / 2), 200, 2.0)))
    first, second, third = (spectrum[round(k * 200 * 2.06) - 3 :][:7].max() for k in (1, 2, 3))
    assert second < 0.05 * min(first, third)


def test_a_bar_has_the_partials_it_is_given_unless_they_would_alias():
    bar = StruckBar((Partial(1, 0.1, 1.0), Partial(3, 1.0, 1.0), Partial(200, 9.0, 1.0)))
    assert strongest_hz(render(bar, 400)) == pytest.approx(1200, abs=3)


def test_a_drum_knows_neither_pitch_nor_length():
    for drum in (Drum(Sweep(1, 50, 0.03, 0.1)), Drum(noise=NoiseBurst(1, 0.1, 200, 5000, metal=0.5))):
        assert np.array_equal(render(drum, 100, 0.1), render(drum, 999, 3.0))


def test_the_pitch_of_a_drum_falls():
    sound = render(Drum(Sweep(1.0, 100, 0.1, 5.0, start_ratio=8)))
    assert strongest_hz(sound[: RATE // 20]) > 400
    assert strongest_hz(sound[RATE : 2 * RATE]) == pytest.approx(100, abs=2)
