"""What a file says of itself: duration, codec, sample rate and tags. Its header is read with mutagen."""

import os
import re
import stat
from dataclasses import dataclass
from typing import Protocol

import mutagen
from mutagen import FileType
from mutagen.aac import AAC
from mutagen.aiff import AIFF
from mutagen.asf import ASF
from mutagen.flac import FLAC
from mutagen.monkeysaudio import MonkeysAudio
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.trueaudio import TrueAudio
from mutagen.wave import WAVE
from mutagen.wavpack import WavPack

MAX_TAG_CHARACTERS = 1000  # A longer tag is cut.
MAX_DURATION_S = 366 * 86_400.0  # A header that claims more than a year of audio is not believed.
MAX_INTEGER = 2**31 - 1  # The largest number that a column of type INTEGER takes.
YEAR = re.compile("[12][0-9]{3}")  # What is taken for a year.
MAGIC_BYTES = 16  # Bytes at the start of a file that tell its format.

Format = type[FileType]


class Tags(Protocol):
    """The tags of a file, in whatever format."""

    def get(self, key: str, /) -> object:
        """The value of a tag, or None. Raises KeyError or ValueError when the format has no such keys."""
        ...


FORMATS_BY_SUFFIX: dict[str, Format] = {
    ".mp3": MP3, ".mp2": MP3, ".flac": FLAC, ".ogg": OggVorbis, ".oga": OggVorbis, ".opus": OggOpus, ".m4a": MP4,
    ".m4b": MP4, ".mp4": MP4, ".alac": MP4, ".aac": AAC, ".wav": WAVE, ".aif": AIFF, ".aiff": AIFF, ".wma": ASF,
    ".wv": WavPack, ".ape": MonkeysAudio, ".tta": TrueAudio,
}  # fmt: skip
FORMATS_BY_MAGIC: tuple[tuple[int, bytes, tuple[Format, ...]], ...] = (
    # The offset of the magic bytes, these bytes, and the formats of files that have them, the likeliest first.
    (0, b"fLaC", (FLAC,)),
    (0, b"OggS", (OggVorbis, OggOpus, OggFLAC)),
    (0, b"RIFF", (WAVE,)),
    (0, b"FORM", (AIFF,)),
    (4, b"ftyp", (MP4,)),
    (0, b"wvpk", (WavPack,)),
    (0, b"MAC ", (MonkeysAudio,)),
    (0, b"TTA1", (TrueAudio,)),
    (0, b"\x30\x26\xb2\x75", (ASF,)),
    (0, b"ID3", (MP3, AAC, FLAC, TrueAudio)),
    (0, b"\xff", (MP3, AAC)),
)
CODECS: dict[Format, str] = {
    MP3: "mp3", FLAC: "flac", OggFLAC: "flac", OggVorbis: "vorbis", OggOpus: "opus", AAC: "aac", WAVE: "pcm",
    AIFF: "pcm", ASF: "wma", WavPack: "wavpack", MonkeysAudio: "ape", TrueAudio: "tta",
}  # fmt: skip
TAG_KEYS = {  # The keys of a tag in Vorbis comments, ID3, MP4, ASF and APEv2.
    "title": ("title", "TIT2", "\xa9nam", "Title"),
    "artist": ("artist", "TPE1", "\xa9ART", "Author", "Artist"),
    "album_artist": ("albumartist", "TPE2", "aART", "WM/AlbumArtist", "Album Artist"),
    "album": ("album", "TALB", "\xa9alb", "WM/AlbumTitle", "Album"),
    "date": ("date", "TDRC", "\xa9day", "WM/Year", "Year"),
    "genre": ("genre", "TCON", "\xa9gen", "WM/Genre", "Genre"),
}


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself. What it does not say is None."""

    duration_s: float | None = None
    codec: str | None = None
    sample_rate: int | None = None  # In Hz.
    channels: int | None = None
    title: str | None = None
    artist: str | None = None
    album_artist: str | None = None
    album: str | None = None
    date: str | None = None
    genre: str | None = None

    @property
    def year(self) -> int | None:
        """The year in the date, which begins with it."""
        return int(self.date[:4]) if self.date and YEAR.fullmatch(self.date[:4]) else None


def read_header(path: bytes) -> Header:
    """The header of an audio file, without any values if it cannot be read."""
    try:
        file = _open(path)
        return Header() if file is None else _describe(file)
    except Exception:  # mutagen raises errors of many kinds. The worker that decodes the file will say what is wrong.
        return Header()


def _open(path: bytes) -> FileType | None:
    """Open the file in the first format that fits it, or return None when none does.

    The first bytes of the file are believed more than its suffix. If they fit several formats, the one of the suffix
    is tried first.
    """
    by_magic = _read_formats_by_magic(path)
    by_suffix = FORMATS_BY_SUFFIX.get(os.fsdecode(path[path.rfind(b".") :]).lower())
    formats = by_magic if by_magic and by_suffix not in by_magic else (by_suffix, *by_magic)
    for file_format in dict.fromkeys(formats):
        if file_format is not None:
            try:
                return file_format(os.fsdecode(path))
            except mutagen.MutagenError:
                continue
    return None


def _read_formats_by_magic(path: bytes) -> tuple[Format, ...]:
    """The formats that the first bytes of the file fit. Raises OSError, and ValueError when it is not a file."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ValueError("not a file")
        head = os.pread(file, MAGIC_BYTES, 0)
    finally:
        os.close(file)
    return next((formats for offset, magic, formats in FORMATS_BY_MAGIC if head.startswith(magic, offset)), ())


def _describe(file: FileType) -> Header:
    """The header of an open file."""
    return Header(
        duration_s=_believable_duration(getattr(file.info, "length", None)),
        codec=_codec(file),
        sample_rate=_column_integer(getattr(file.info, "sample_rate", None)),
        channels=_column_integer(getattr(file.info, "channels", None)),
        **{name: _read_tag(file.tags, keys) for name, keys in TAG_KEYS.items()},
    )


def _believable_duration(duration_s: float | None) -> float | None:
    """The duration in seconds, if it is one that a file may have."""
    return float(duration_s) if duration_s is not None and 0 < duration_s <= MAX_DURATION_S else None


def _codec(file: FileType) -> str | None:
    if isinstance(file, MP4):
        return "alac" if getattr(file.info, "codec", None) == "alac" else "aac"
    return CODECS.get(type(file))


def _column_integer(number: float | None) -> int | None:
    """The number as an integer, if it is positive and a column of the database takes it."""
    return int(number) if number is not None and 0 < number <= MAX_INTEGER else None


def _read_tag(tags: Tags | None, keys: tuple[str, ...]) -> str | None:
    """The text of the first of these tags that the file has."""
    if tags is None:
        return None
    for key in keys:
        try:
            value = tags.get(key)
        except (KeyError, ValueError):  # Vorbis comments refuse a key that is not ASCII.
            continue
        if value:
            return clean_tag(value)
    return None


def clean_tag(value: object) -> str | None:
    """A tag as one line of printable text of limited length, or None when nothing is left of it.

    mutagen gives some tags as text, some as a list of texts, and those of ID3 as objects that have such a list.
    """
    value = getattr(value, "genres", None) or getattr(value, "text", value)
    parts = value if isinstance(value, list | tuple) else [value]
    text = "; ".join(str(part) for part in parts)
    printable = "".join(char for char in text if char.isprintable())  # Lone surrogates are not printable either.
    return printable.strip()[:MAX_TAG_CHARACTERS] or None
