"""The sample library: 27 short tracks in all styles and formats, the copy of one, and two broken files."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from mutagen import MutagenError

from genremill.sample.compose import compose_track
from genremill.sample.encode import Encoder, SoundfileEncoder, write_tags, write_track
from genremill.sample.styles import STYLES
from settings import GenremillError
from worker.whole_file import whole_file


@dataclass(frozen=True)
class Track:
    """A track of the library. Its path is artist/album/number title."""

    path: str
    style: str
    seconds: float
    sample_rate: int = 44_100
    channels: int = 2
    seed: int = 0
    encoder: Encoder | None = None  # None: the default of the path's suffix.

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the file: title, artist, album and genre."""
        artist, album, name = self.path.split("/")
        return {"title": Path(name).stem[3:], "artist": artist, "album": album, "genre": STYLES[self.style].genre}


HIGH_RESOLUTION = SoundfileEncoder("FLAC", "PCM_24")
VARIABLE_BIT_RATE = SoundfileEncoder("MP3", bitrate_mode="VARIABLE", compression_level=0.2)
TRACKS = (
    Track("Kessel Nord/Schichtwechsel/01 Presswerk.mp3", "techno", 20),
    Track("Kessel Nord/Schichtwechsel/02 Night Shuttle.mp3", "trance", 18, 48_000),
    Track("Kessel Nord/Remixes/01 Second Shift.flac", "house", 17),
    Track("Lowtide/Undertow/01 Breakwater.m4a", "drum and bass", 17, 48_000),
    Track("Lowtide/Undertow/02 Slack Water.flac", "ambient", 24, 48_000, encoder=HIGH_RESOLUTION),
    Track("Lowtide/Undertow/03 Sounding.ogg", "dub", 18),
    Track("Hazel & Rowan/Hedgerow/01 The Miller's Gate.flac", "folk", 18),
    Track("Hazel & Rowan/Hedgerow/02 Barn Waltz.ogg", "waltz", 16, 48_000),
    Track("Hazel & Rowan/Hedgerow/03 Ridge Road.m4a", "country", 17),
    Track("Ironpress/Anvil/01 Slag.mp3", "metal", 17, seed=6, encoder=VARIABLE_BIT_RATE),
    Track("Ironpress/Anvil/02 Clock Off.mp3", "punk", 15),
    Track("Ironpress/Singles/01 Long Way Down.m4a", "rock", 18, seed=8),
    Track("Clara Voss/Nachtstücke/01 Café du Matin.m4a", "piano ballad", 20, 48_000),
    Track("Clara Voss/Nachtstücke/02 Overture in D.flac", "orchestra", 20),
    Track("Clara Voss/Nachtstücke/03 Toccata.wav", "organ", 17, 48_000, 1),
    Track("Clara Voss/Nachtstücke/04 Lux.ogg", "choir", 20),
    Track("The Corner Table/Late Set/01 Blue Lamp.mp3", "jazz", 18),
    Track("The Corner Table/Late Set/02 Third Street Shuffle.wav", "blues", 18, channels=1),
    Track("The Corner Table/Late Set/03 Orla.ogg", "bossa nova", 17),
    Track("Marlon Reed/Sunday Soul/01 Hold the Door.m4a", "soul", 18),
    Track("Marlon Reed/Sunday Soul/02 Pocket Change.mp3", "funk", 17),
    Track("Marlon Reed/Sunday Soul/03 Corner Talk.mp3", "hip hop", 18, 48_000),
    Track("Marlon Reed/Sunday Soul/04 Harbour Light.ogg", "reggae", 18),
    Track("夜行 Express/日本/01 Neon 駅.mp3", "synth pop", 18),
    Track("夜行 Express/日本/02 8-bit 猫.wav", "chiptune", 16, 22_050, 1),
    Track("Atelier Null/Étude/01 Grid.flac", "minimalism", 17),
    Track("Atelier Null/Étude/02 Rust.ogg", "noise", 20, 48_000, 1),
)
ORIGINAL = TRACKS[0].path  # The track that DUPLICATE is a copy of, under other tags.
DUPLICATE = "Unsorted/presswerk (1).mp3"
DUPLICATE_TAGS = {"title": "presswerk", "artist": "unknown", "album": "unknown", "genre": "Other"}
BROKEN_MP3 = "Unsorted/download.mp3"
BROKEN_FLAC = "Unsorted/unfinished.flac"


def write_library(folder: Path) -> list[Path]:
    """Write the files of the sample library that are not in the folder yet, and return their paths.

    Raises GenremillError if a file cannot be written.
    """
    written = []
    try:
        for path, write in WRITERS.items():
            if not (folder / path).exists():
                write(folder)
                written.append(folder / path)
    except (OSError, soundfile.LibsndfileError, MutagenError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GenremillError(f"the sample library cannot be written to {folder}: {reason}") from error
    return written


def library_paths(folder: Path) -> list[Path]:
    """The paths of all files of the sample library in a folder, whether they are there or not."""
    return [folder / path for path in WRITERS]


def _write_track(track: Track, folder: Path) -> None:
    pcm = compose_track(track.style, track.seconds, track.seed, track.sample_rate)
    if track.channels == 1:
        pcm = pcm.mean(1)
    write_track(folder / track.path, pcm, track.sample_rate, track.tags, track.encoder)


def _write_duplicate(folder: Path) -> None:
    with whole_file(folder / DUPLICATE) as unfinished:
        shutil.copyfile(folder / ORIGINAL, unfinished)
        write_tags(unfinished, DUPLICATE_TAGS, ".mp3")


def _write_broken_mp3(folder: Path) -> None:
    """Write noise in which no decoder finds the start of a frame, since no byte of it is 0xFF."""
    with whole_file(folder / BROKEN_MP3) as unfinished:
        unfinished.write_bytes(_noise_bytes(13, 200_000))


def _write_broken_flac(folder: Path) -> None:
    """Write the header of a FLAC file of three minutes, and noise where its frames should be.

    The header has one block, STREAMINFO, as RFC 9639 defines it.
    """
    sample_rate, channels, bits, seconds = 44_100, 2, 16, 180
    block_sizes = 2 * (4096).to_bytes(2, "big")  # The smallest and the largest block, in samples.
    frame_sizes = bytes(6)  # The smallest and the largest frame, in bytes: not known.
    format_bits = sample_rate << 44 | (channels - 1) << 41 | (bits - 1) << 36 | seconds * sample_rate
    md5 = bytes(16)  # Of the samples: not known.
    stream_info = block_sizes + frame_sizes + format_bits.to_bytes(8, "big") + md5
    last_block, stream_info_type = 0x80, 0
    block_header = bytes((last_block | stream_info_type, 0, 0, len(stream_info)))
    with whole_file(folder / BROKEN_FLAC) as unfinished:
        unfinished.write_bytes(b"fLaC" + block_header + stream_info + _noise_bytes(14, 60_000))


def _noise_bytes(seed: int, count: int) -> bytes:
    """Random bytes, none of which is 0 or 0xFF."""
    return np.random.default_rng(seed).integers(1, 255, count, dtype=np.uint8).tobytes()


# The function that writes each file into the library's folder, by the file's path in it. ORIGINAL precedes DUPLICATE.
WRITERS: dict[str, Callable[[Path], None]] = {
    **{track.path: partial(_write_track, track) for track in TRACKS},
    DUPLICATE: _write_duplicate,
    BROKEN_MP3: _write_broken_mp3,
    BROKEN_FLAC: _write_broken_flac,
}
