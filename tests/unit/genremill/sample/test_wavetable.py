"""The wavetable synthesizer: spectra, filter, envelope and pitch."""

import numpy as np
import pytest

from genremill.sample.wavetable import SPECTRA, VOWELS, Envelope, LowPass, WavetableSynth

RATE = 48_000  # Hz
FLAT = Envelope(0.001, 1.0, 1.0, 0.001)  # The same amplitude all the time.


def partials(voice: WavetableSynth, pitch_hz: float = 200, count: int = 6) -> np.ndarray:
    """The amplitudes of the first partials of a note of one second, as multiples of the first."""
    sound = voice.render(pitch_hz, 1.0, np.random.default_rng(0), RATE)[:RATE]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(RATE)))
    amplitudes = np.array([spectrum[round(k * pitch_hz)] for k in range(1, count + 1)])
    return amplitudes / amplitudes[0]


@pytest.mark.parametrize(
    ("oscillator", "amplitudes"),
    [
        ("sine", [1, 0, 0, 0, 0, 0]),
        ("saw", [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6]),
        ("square", [1, 0, 1 / 3, 0, 1 / 5, 0]),
        ("triangle", [1, 0, 1 / 9, 0, 1 / 25, 0]),
    ],
)
def test_an_oscillator_has_the_partials_of_its_wave(oscillator, amplitudes):
    assert partials(WavetableSynth(oscillator, FLAT)) == pytest.approx(amplitudes, abs=0.01)


@pytest.mark.parametrize("oscillator", SPECTRA)
def test_a_high_note_does_not_alias(oscillator):
    """A partial above half the sample rate would come back below it, between the others."""
    sound = WavetableSynth(oscillator, FLAT).render(3000, 1.0, np.random.default_rng(0), RATE)[:RATE]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(RATE)))
    beside_partials = np.abs((np.arange(len(spectrum)) + 1500) % 3000 - 1500) > 10
    assert spectrum[beside_partials].max() < 0.01 * spectrum.max()


def test_a_filter_that_closes_makes_a_note_darker():
    voice = WavetableSynth("saw", FLAT, LowPass(8000, 300, 0.1))
    sound = voice.render(100, 1.0, np.random.default_rng(0), RATE)
    start, end = (np.abs(np.fft.rfft(part)) for part in (sound[: RATE // 10], sound[RATE // 2 : 6 * RATE // 10]))
    assert end[200:].sum() / end.sum() < 0.3 * start[200:].sum() / start.sum()  # The part above 2 kHz.


def test_a_resonance_raises_the_partials_at_the_cutoff_frequency():
    plain, resonant = (WavetableSynth("saw", FLAT, LowPass(800, 800, 1, gain)) for gain in (0, 4))
    assert partials(resonant)[3] > 4 * partials(plain)[3]
    assert partials(resonant)[1] == pytest.approx(partials(plain)[1], rel=0.05)


@pytest.mark.parametrize("vowel", VOWELS)
def test_a_vowel_is_loudest_at_a_formant(vowel):
    strongest = partials(WavetableSynth("voice", FLAT, vowel=vowel), 50, count=40).argmax() * 50 + 50
    assert min(abs(strongest - formant.center_hz) for formant in VOWELS[vowel]) <= 50


def test_an_envelope_rises_falls_to_its_sustain_level_and_is_released():
    curve = Envelope(attack_s=0.1, decay_s=0.05, sustain=0.5, release_s=0.2).curve(1300, 1.0, 1000)
    assert curve[50] == pytest.approx(0.5)
    assert curve[100] == pytest.approx(1)
    assert curve[900] == pytest.approx(0.5, abs=0.001)
    assert curve[1100] == pytest.approx(0.125, abs=0.001)  # Half of the release, squared.
    assert curve[1200:].tolist() == [0] * 100


def test_vibrato_and_glide_bend_the_pitch():
    steady = WavetableSynth("sine", FLAT)
    vibrato = WavetableSynth("sine", FLAT, vibrato_cents=30)
    glide = WavetableSynth("sine", FLAT, glide_cents=1200)
    zero_crossings = [
        np.diff(np.flatnonzero(np.diff(np.signbit(voice.render(500, 1.0, np.random.default_rng(0), RATE)))))
        for voice in (steady, vibrato, glide)
    ]
    assert np.ptp(zero_crossings[0][5:-5]) <= 1
    assert np.ptp(zero_crossings[1][5:-5]) >= 2
    assert zero_crossings[2][1] > 1.5 * zero_crossings[2][-10]


def test_detuned_oscillators_beat():
    sound = WavetableSynth("sine", FLAT, unison=2, detune_cents=10).render(400, 2.0, np.random.default_rng(0), RATE)
    loudness = np.abs(sound[: 2 * RATE]).reshape(-1, RATE // 100).max(1)
    assert loudness.min() < 0.3 * loudness.max()
