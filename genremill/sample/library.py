"""A small sample music library, composed here: something to run genremill on where no music is at hand.

Sound is built bottom up: voices (wavetable, struck string, struck bar, drum) render one note; a style is data, chords
and patterns for voices; `compose_track` plays a style; `write_track` encodes. Patterns are one bar long, any number of
equal steps, bars separated by `|` and repeated: `.` rest, `-` hold, a digit a tone of the bar's chord, `c` the chord,
`g` the chord as a guitar plays it, `p` a power chord, `m` the next note of a melody; for drums `x`, `X` loud, `o` soft.

    genremill sample FOLDER
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from genremill.sample.encode import whole_file, write_tags, write_track
from genremill.sample.styles import STYLES, compose_track

# --- Voices: one note each ------------------------------------------------------------------------------------------


# --- The sequencer: chords and patterns to a mix ---------------------------------------------------------------------


# --- The styles -------------------------------------------------------------------------------------------------------


# --- Files ------------------------------------------------------------------------------------------------------------


# --- The library ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    """A file of the library: its name says artist, album and title."""

    path: str
    style: str
    seconds: float
    rate: int = 44_100
    channels: int = 2
    seed: int = 0
    encoding: dict = field(default_factory=dict)

    @property
    def tags(self) -> dict[str, str]:
        artist, album, name = self.path.split("/")
        return {"title": Path(name).stem[3:], "artist": artist, "album": album, "genre": STYLES[self.style].genre}


LIBRARY = (
    Item("Kessel Nord/Schichtwechsel/01 Presswerk.mp3", "techno", 20),
    Item("Kessel Nord/Schichtwechsel/02 Night Shuttle.mp3", "trance", 18, 48_000),
    Item("Kessel Nord/Remixes/01 Second Shift.flac", "house", 17),
    Item("Lowtide/Undertow/01 Breakwater.m4a", "drum and bass", 17, 48_000),
    Item("Lowtide/Undertow/02 Slack Water.flac", "ambient", 24, 48_000, encoding={"subtype": "PCM_24"}),
    Item("Lowtide/Undertow/03 Sounding.ogg", "dub", 18),
    Item("Hazel & Rowan/Hedgerow/01 The Miller's Gate.flac", "folk", 18),
    Item("Hazel & Rowan/Hedgerow/02 Barn Waltz.ogg", "waltz", 16, 48_000),
    Item("Hazel & Rowan/Hedgerow/03 Ridge Road.m4a", "country", 17),
    Item(
        "Ironpress/Anvil/01 Slag.mp3",
        "metal",
        17,
        seed=6,
        encoding={"bitrate_mode": "VARIABLE", "compression_level": 0.2},
    ),
    Item("Ironpress/Anvil/02 Clock Off.mp3", "punk", 15),
    Item("Ironpress/Singles/01 Long Way Down.m4a", "rock", 18, seed=8),
    Item("Clara Voss/Nachtstücke/01 Café du Matin.m4a", "piano ballad", 20, 48_000),
    Item("Clara Voss/Nachtstücke/02 Overture in D.flac", "orchestra", 20),
    Item("Clara Voss/Nachtstücke/03 Toccata.wav", "organ", 17, 48_000, 1),
    Item("Clara Voss/Nachtstücke/04 Lux.ogg", "choir", 20),
    Item("The Corner Table/Late Set/01 Blue Lamp.mp3", "jazz", 18),
    Item("The Corner Table/Late Set/02 Third Street Shuffle.wav", "blues", 18, channels=1),
    Item("The Corner Table/Late Set/03 Orla.ogg", "bossa nova", 17),
    Item("Marlon Reed/Sunday Soul/01 Hold the Door.m4a", "soul", 18),
    Item("Marlon Reed/Sunday Soul/02 Pocket Change.mp3", "funk", 17),
    Item("Marlon Reed/Sunday Soul/03 Corner Talk.mp3", "hip hop", 18, 48_000),
    Item("Marlon Reed/Sunday Soul/04 Harbour Light.ogg", "reggae", 18),
    Item("夜行 Express/日本/01 Neon 駅.mp3", "synth pop", 18),
    Item("夜行 Express/日本/02 8-bit 猫.wav", "chiptune", 16, 22_050, 1),
    Item("Atelier Null/Étude/01 Grid.flac", "minimalism", 17),
    Item("Atelier Null/Étude/02 Rust.ogg", "noise", 20, 48_000, 1),
)
DUPLICATE = ("Unsorted/presswerk (1).mp3", LIBRARY[0])  # the same audio under other tags
BROKEN = ("Unsorted/download.mp3", "Unsorted/unfinished.flac")


def compose_library(root: Path) -> list[Path]:
    """Write the sample library under root and return its files, 27 that play, a copy of one, and two broken ones.

    What is there already stays as it is.
    """
    for item in LIBRARY:
        if not (root / item.path).exists():
            pcm = compose_track(item.style, item.seconds, item.seed, item.rate)
            pcm = pcm if item.channels == 2 else pcm.mean(1)
            write_track(root / item.path, pcm, item.rate, item.tags, **item.encoding)
    for name, write in ((DUPLICATE[0], _write_duplicate), *zip(BROKEN, (_write_noise, _write_stub), strict=True)):
        if not (root / name).exists():
            with whole_file(root / name) as unfinished:
                write(unfinished, root)
    return [root / name for name in (*(item.path for item in LIBRARY), DUPLICATE[0], *BROKEN)]


def _write_duplicate(path: Path, root: Path) -> None:
    shutil.copyfile(root / DUPLICATE[1].path, path)
    write_tags(path, {"title": "presswerk", "artist": "unknown", "album": "unknown", "genre": "Other"}, ".mp3")


def _write_noise(path: Path, root: Path) -> None:
    """Random bytes without 0xFF, so that no decoder takes any of them for the start of a frame."""
    path.write_bytes(np.random.default_rng(13).integers(1, 255, 200_000, dtype=np.uint8).tobytes())


def _write_stub(path: Path, root: Path) -> None:
    """The header of a FLAC file of 3 minutes, 44.1 kHz, stereo, 16 bit; then random bytes without a frame."""
    rate_to_length = 44_100 << 44 | 1 << 41 | 15 << 36 | 180 * 44_100
    header = (4096).to_bytes(2) * 2 + bytes(6) + rate_to_length.to_bytes(8) + bytes(16)
    junk = np.random.default_rng(14).integers(1, 255, 60_000, dtype=np.uint8).tobytes()
    path.write_bytes(b"fLaC" + bytes((0x80, 0, 0, len(header))) + header + junk)
