"""The instruments that parts of a style name."""

from genremill.sample.synth import Drum, NoiseBurst, Partial, PluckedString, StruckBar, Sweep, Voice
from genremill.sample.wavetable import Envelope, LowPass, WavetableSynth

# Percussion: Sweep(gain, end_hz, fall_s, decay_s, start_ratio), NoiseBurst(gain, decay_s, low_hz, high_hz).
DRUMS: dict[str, Voice] = {
    "kick": Drum(Sweep(1.0, 48, 0.03, 0.16, 5), NoiseBurst(0.15, 0.006, 800, 8000)),
    "boom": Drum(Sweep(1.0, 42, 0.05, 0.4), NoiseBurst(0.1, 0.004, 500, 5000)),
    "rock kick": Drum(Sweep(0.9, 60, 0.015, 0.09), NoiseBurst(0.5, 0.012, 1500, 6000)),
    "soft kick": Drum(Sweep(0.7, 62, 0.01, 0.1, 2)),
    "snare": Drum(Sweep(0.5, 185, 0.01, 0.07, 1.6), NoiseBurst(0.8, 0.09, 700, 9000)),
    "rock snare": Drum(Sweep(0.6, 200, 0.01, 0.09, 1.8), NoiseBurst(1.2, 0.14, 400, 8000)),
    "clap": Drum(noise=NoiseBurst(1.2, 0.1, 900, 3500), attack_s=0.012),
    "hat": Drum(noise=NoiseBurst(0.6, 0.03, 7000, 16000, metal=0.2)),
    "open hat": Drum(noise=NoiseBurst(0.6, 0.18, 6000, 15000, metal=0.3)),
    "ride": Drum(noise=NoiseBurst(0.35, 0.3, 5000, 12000, metal=0.8)),
    "crash": Drum(noise=NoiseBurst(0.7, 0.7, 3000, 14000, metal=0.3)),
    "wash": Drum(noise=NoiseBurst(0.7, 1.2, 800, 9000, metal=0.2)),
    "brush": Drum(noise=NoiseBurst(0.35, 0.11, 1500, 6000), attack_s=0.04),
    "shaker": Drum(noise=NoiseBurst(0.4, 0.035, 5000, 12000), attack_s=0.02),
    "rim": Drum(Sweep(0.6, 1700, 0.002, 0.012, 1.3), NoiseBurst(0.3, 0.01, 1500, 5000)),
    "tom": Drum(Sweep(0.9, 95, 0.04, 0.2, 2), NoiseBurst(0.2, 0.03, 300, 3000)),
    "blip": Drum(noise=NoiseBurst(0.8, 0.04, 2000, 20000)),
    "gust": Drum(noise=NoiseBurst(1.0, 1.2, 200, 900), attack_s=1.5),
    "scrape": Drum(Sweep(0.4, 333, 0.9, 0.7, 7), NoiseBurst(0.8, 0.4, 1200, 3000, metal=1.5), attack_s=0.05),
    "crackle": Drum(noise=NoiseBurst(0.5, 0.002, 2000, 9000)),
}

# Envelope(attack_s, decay_s, sustain, release_s), LowPass(start_hz, end_hz, sweep_s).
SYNTHS: dict[str, Voice] = {
    "sub": WavetableSynth("sine", Envelope(0.01, 0.3, 0.9, 0.08)),
    "acid": WavetableSynth("saw", Envelope(0.003, 0.2, 0.6, 0.03), LowPass(3500, 250, 0.09, resonance=4)),
    "reese": WavetableSynth(
        "saw", Envelope(0.01, 0.3, 0.9, 0.06), LowPass(900, 250, 0.5, resonance=1), unison=3, detune_cents=25
    ),
    "fuzz": WavetableSynth("saw", Envelope(0.01, 0.5, 0.9, 0.05), LowPass(6000, 3000, 0.5), unison=3, detune_cents=8),
    "stab": WavetableSynth("saw", Envelope(0.003, 0.12, 0.2, 0.08), LowPass(5000, 500, 0.08, resonance=1), unison=3),
    "supersaw": WavetableSynth(
        "saw", Envelope(0.005, 0.2, 0.7, 0.15), LowPass(9000, 3000, 0.3), unison=5, detune_cents=18
    ),
    "pad": WavetableSynth("saw", Envelope(1.2, 1, 0.9, 1.8), LowPass(300, 1600, 2.5), unison=3, detune_cents=8),
    "dark pad": WavetableSynth("soft", Envelope(1.5, 1, 0.9, 2.0), LowPass(250, 900, 3), unison=2, detune_cents=6),
    "glass": WavetableSynth("triangle", Envelope(0.6, 1, 0.6, 2.0), unison=2, detune_cents=5, vibrato_cents=6),
    "chip": WavetableSynth("square", Envelope(0.002, 0.1, 0.6, 0.01)),
    "chip pulse": WavetableSynth("pulse", Envelope(0.002, 0.08, 0.5, 0.01)),
    "chip bass": WavetableSynth("triangle", Envelope(0.002, 0.1, 0.9, 0.01)),
    "synth bass": WavetableSynth("saw", Envelope(0.004, 0.15, 0.6, 0.04), LowPass(1800, 300, 0.12, resonance=1.5)),
    "strings": WavetableSynth(
        "saw", Envelope(0.15, 0.5, 0.85, 0.35), LowPass(1800, 3500, 0.4), unison=3, detune_cents=9, vibrato_cents=10
    ),
    "cello": WavetableSynth(
        "saw", Envelope(0.1, 0.5, 0.85, 0.3), LowPass(1200, 2200, 0.4), unison=2, detune_cents=6, vibrato_cents=12
    ),
    "flute": WavetableSynth("soft", Envelope(0.06, 0.3, 0.9, 0.1), vibrato_cents=14, breath=0.12),
    "brass": WavetableSynth("saw", Envelope(0.04, 0.2, 0.8, 0.08), LowPass(700, 3500, 0.06), unison=2, detune_cents=6),
    "sax": WavetableSynth(
        "saw", Envelope(0.04, 0.2, 0.85, 0.08), LowPass(1000, 2800, 0.1), vibrato_cents=16, glide_cents=60, breath=0.08
    ),
    "horn": WavetableSynth("soft", Envelope(0.08, 0.4, 0.85, 0.2), LowPass(500, 1500, 0.2), unison=2, detune_cents=4),
    "accordion": WavetableSynth(
        "pulse", Envelope(0.05, 0.2, 0.9, 0.06), LowPass(3500, 3500, 1), unison=2, detune_cents=11
    ),
    "harmonica": WavetableSynth(
        "pulse", Envelope(0.04, 0.2, 0.9, 0.06), LowPass(2500, 4000, 0.2), vibrato_cents=20, glide_cents=90
    ),
    "pipes": WavetableSynth("organ", Envelope(0.05, 0.3, 0.95, 0.25), unison=2, detune_cents=3),
    "drawbars": WavetableSynth("organ", Envelope(0.008, 0.1, 0.9, 0.05), LowPass(2500, 2500, 1), vibrato_cents=8),
    "choir": WavetableSynth(
        "voice", Envelope(0.35, 0.5, 0.9, 0.7), unison=4, detune_cents=12, vibrato_cents=14, vowel="a", breath=0.01
    ),
    "deep choir": WavetableSynth(
        "voice", Envelope(0.35, 0.5, 0.9, 0.7), unison=4, detune_cents=12, vibrato_cents=12, vowel="o"
    ),
    "singer": WavetableSynth(
        "voice", Envelope(0.05, 0.3, 0.9, 0.12), vibrato_cents=30, glide_cents=120, vowel="a", breath=0.03
    ),
    "crooner": WavetableSynth(
        "voice", Envelope(0.05, 0.3, 0.9, 0.12), vibrato_cents=25, glide_cents=150, vowel="e", breath=0.03
    ),
}

# PluckedString(decay_s, damping_hz, position, rolloff).
STRINGS: dict[str, Voice] = {
    "guitar": PluckedString(1.6, 2200, 0.15, 0.7, knock=0.2),
    "nylon": PluckedString(1.1, 1400, 0.25, 0.9, knock=0.15),
    "twang": PluckedString(1.2, 4500, 0.08, 0.4, knock=0.3),
    "banjo": PluckedString(0.35, 5000, 0.1, 0.4, knock=0.4),
    "electric": PluckedString(2.5, 5000, 0.2, 0.6),
    "muted": PluckedString(0.12, 1500, 0.1, 0.5, knock=0.5),
    "clavinet": PluckedString(0.5, 3500, 0.06, 0.3, knock=0.3, release_s=0.02),
    "slap": PluckedString(0.5, 2500, 0.07, 0.5, knock=0.5, release_s=0.03),
    "bass": PluckedString(1.2, 900, 0.2, 0.8),
    "pick bass": PluckedString(1.2, 2000, 0.12, 0.6, knock=0.3),
    "upright": PluckedString(0.6, 600, 0.3, 0.9, knock=0.4),
    "piano": PluckedString(1.8, 2600, 0.12, 1.1, knock=0.5, release_s=0.2, unison_cents=1.5),
}

# Partial(ratio, amplitude, decay_s).
BARS: dict[str, Voice] = {
    "tine": StruckBar(
        (Partial(1, 0.6, 0.9), Partial(2, 0.1, 0.5), Partial(7, 0.12, 0.1), Partial(14, 0.05, 0.03)), tremolo=0.3
    ),
    "marimba": StruckBar((Partial(1, 0.7, 0.25), Partial(3.93, 0.25, 0.08), Partial(9.2, 0.1, 0.03))),
    "vibraphone": StruckBar((Partial(1, 0.6, 1.4), Partial(4, 0.15, 0.5), Partial(10, 0.05, 0.1)), tremolo=0.5),
    "bell": StruckBar(
        (
            Partial(0.5, 0.2, 3),
            Partial(1, 0.4, 2.5),
            Partial(2.4, 0.3, 1.4),
            Partial(3.9, 0.2, 0.8),
            Partial(5.2, 0.1, 0.5),
        ),
        release_s=2,
    ),
}

INSTRUMENTS: dict[str, Voice] = DRUMS | SYNTHS | STRINGS | BARS
