"""The styles of the sample library, read from styles.txt, whose first lines explain its format."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genremill.sample.harmony import Chord, parse_chord, parse_scale
from genremill.sample.instruments import INSTRUMENTS

STYLES_FILE = Path(__file__).with_name("styles.txt")

# The symbols of a pattern.
REST = "."
HOLD = "-"  # The last note goes on.
MELODY = "m"  # The next note of a random melody.
WHOLE_CHORD = "c"  # The chord of the bar.
VOICINGS = {"p": (0, 2, 3), "g": (0, 2, 3, 4, 5)}  # A power chord and a guitar's chord: the chord's tones in each.
TONES = "01234567"  # One tone of the chord, counted upwards from its root.
STROKES = {"x": 0.8, "X": 1.2, "o": 0.4}  # A stroke of a drum, and how loud it is.
SYMBOLS = {REST, HOLD, MELODY, WHOLE_CHORD, *VOICINGS, *TONES, *STROKES}


@dataclass(frozen=True)
class Part:
    """One instrument of a style: what it plays, and the settings of its channel in the mixer."""

    instrument: str  # A name in INSTRUMENTS.
    gain: float
    bars: tuple[str, ...]  # The pattern of each bar, repeated; a bar is divided into as many steps as it has symbols.
    octave: int = 0  # Octaves that the part is moved up.
    pan: float = 0.0  # Place in the stereo picture, from -1, left, to 1, right.
    wide: bool = False  # Whether the right channel is late, which makes the part sound wide.
    strum_s: float = 0.0  # Time between two strings of a chord.
    drive: float = 0.0  # Gain into a distorting amplifier; 0: there is none.
    echo: float = 0.0  # Gain of an echo over the sound before it; 0: there is none.
    reverb: float = 0.15  # Gain into the reverb, after `gain`.
    ducking: float = 0.0  # How much of the part is taken away on every beat, from 0 to 1.


@dataclass(frozen=True)
class Style:
    """What all tracks of a style have in common."""

    genre: str  # For the tags of a file.
    bpm: float  # Beats per minute.
    chords: tuple[Chord, ...]  # One for each bar, repeated. The root of the first is the key note of melodies.
    scale: tuple[int, ...]  # The scale of melodies: the semitones from the key note to each of its notes.
    parts: tuple[Part, ...]
    beats: int = 4  # Beats in a bar.
    humanize_s: float = 0.004  # Standard deviation of a note's start from its place in the bar.
    reverb_s: float = 1.2  # Length of the reverb.
    loudness: float = 0.18  # Root mean square of the track before the limiter.


def _parse_bars(text: str) -> tuple[str, ...]:
    """The bars of a pattern. Raises ValueError for an empty bar, or a symbol that no pattern has."""
    unknown = set(text) - SYMBOLS - {"|"}
    if unknown:
        raise ValueError(f"no symbol {min(unknown)!r} in a pattern; there are {' '.join(sorted(SYMBOLS))}")
    bars = tuple(text.split("|"))
    if not all(bars):
        raise ValueError(f"the pattern {text!r} has an empty bar")
    return bars


def _parse_yes(text: str) -> bool:
    """True, which is the only value that can be given. Raises ValueError for anything else."""
    if text != "yes":
        raise ValueError(f"no value {text!r}; write yes, or leave the setting out")
    return True


Parsers = dict[str, Callable[[str], object]]
STYLE_SETTINGS: Parsers = {  # The settings of a style by name, and what reads the value of each.
    "genre": str,
    "bpm": float,
    "chords": lambda text: tuple(map(parse_chord, text.split())),
    "scale": parse_scale,
    "beats": int,
    "humanize_s": float,
    "reverb_s": float,
    "loudness": float,
}
REQUIRED_SETTINGS = ("genre", "bpm", "chords", "scale")  # Those that every style must have.
PART_SETTINGS: Parsers = {  # The settings of a part by name, and what reads the value of each.
    "octave": int,
    "pan": float,
    "wide": _parse_yes,
    "strum_s": float,
    "drive": float,
    "echo": float,
    "reverb": float,
    "ducking": float,
}
Settings = dict[str, Any]  # The fields of Style or Part that were given, each of its own type.


def parse_styles(text: str) -> dict[str, Style]:
    """The styles of a text in the format of styles.txt, by name. Raises ValueError, whose message names the line."""
    drafts: list[_Draft] = []
    for number, line in enumerate(text.splitlines(), 1):
        with _naming_line(number):
            _read_line(line.strip(), number, drafts)
    styles = {}
    for draft in drafts:
        with _naming_line(draft.line_number):
            styles[draft.name] = draft.finish()
    return styles


@contextmanager
def _naming_line(number: int) -> Iterator[None]:
    """Put the number of a line before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{STYLES_FILE.name}, line {number}: {error}") from error


@dataclass
class _Draft:
    """A style of which more lines may follow."""

    name: str
    line_number: int
    settings: Settings = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)

    def finish(self) -> Style:
        """The style. Raises ValueError where something is missing."""
        missing = [name for name in REQUIRED_SETTINGS if name not in self.settings]
        if missing or not self.parts:
            raise ValueError(f"the style {self.name!r} has no {', '.join(missing) or 'parts'}")
        return Style(parts=tuple(self.parts), **self.settings)


def _read_line(line: str, number: int, drafts: list[_Draft]) -> None:
    """Add what a line says to the last draft, or a new draft. Raises ValueError for what is not understood."""
    if not line or line.startswith("#"):
        return
    if line.startswith("["):
        name = line.strip("[]")
        if name in (draft.name for draft in drafts):
            raise ValueError(f"a second style {name!r}")
        drafts.append(_Draft(name, number))
    elif not drafts:
        raise ValueError("a style starts with its name in square brackets")
    elif ":" in line:
        drafts[-1].settings |= _parse_setting(line, ":", STYLE_SETTINGS)
    else:
        drafts[-1].parts.append(_parse_part(line))


def _parse_part(line: str) -> Part:
    """A part: instrument, gain, pattern and settings, in columns that are two or more spaces apart."""
    columns = re.split("  +", line)
    if len(columns) not in (3, 4):
        raise ValueError("a part has an instrument, a gain and a pattern, two or more spaces apart, then settings")
    instrument, gain, pattern, *rest = columns
    if instrument not in INSTRUMENTS:
        raise ValueError(f"no instrument {instrument!r}; there are {', '.join(INSTRUMENTS)}")
    settings: Settings = {}
    for setting in " ".join(rest).split():
        settings |= _parse_setting(setting, "=", PART_SETTINGS)
    return Part(instrument, float(gain), _parse_bars(pattern), **settings)


def _parse_setting(text: str, separator: str, parsers: Parsers) -> Settings:
    """One setting, by its name."""
    name, _, value = text.partition(separator)
    if name not in parsers:
        raise ValueError(f"no setting {name!r}; there are {', '.join(parsers)}")
    return {name: parsers[name](value.strip())}


STYLES = parse_styles(STYLES_FILE.read_text(encoding="utf-8"))
