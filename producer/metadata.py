"""What a file's header says: duration, codec, rate and tags, read with mutagen."""

import os
import stat
from dataclasses import dataclass

import mutagen
from mutagen.aac import AAC
from mutagen.aiff import AIFF
from mutagen.apev2 import APEv2File
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

LONGEST_TAG = 1000  # characters
LONGEST_S = 366 * 86_400.0
MOST = 2**31 - 1  # of a number: what an INTEGER column takes

KINDS = {
    ".mp3": MP3, ".mp2": MP3, ".flac": FLAC, ".ogg": OggVorbis, ".oga": OggVorbis, ".opus": OggOpus, ".m4a": MP4,
    ".m4b": MP4, ".mp4": MP4, ".alac": MP4, ".aac": AAC, ".wav": WAVE, ".aif": AIFF, ".aiff": AIFF, ".wma": ASF,
    ".wv": WavPack, ".ape": MonkeysAudio, ".tta": TrueAudio,
}  # fmt: skip
MAGIC = (  # where it stands, what it is, and what it may be
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
CODECS = {
    MP3: "mp3", FLAC: "flac", OggFLAC: "flac", OggVorbis: "vorbis", OggOpus: "opus", AAC: "aac", WAVE: "pcm",
    AIFF: "pcm", ASF: "wma", WavPack: "wavpack", MonkeysAudio: "ape", TrueAudio: "tta",
}  # fmt: skip
TAG_NAMES = {  # EasyID3 and Vorbis comments, ID3, MP4, ASF, APEv2
    "title": ("title", "TIT2", "\xa9nam", "Title"),
    "artist": ("artist", "TPE1", "\xa9ART", "Author", "Artist"),
    "album": ("album", "TALB", "\xa9alb", "WM/AlbumTitle", "Album"),
    "genre": ("genre", "TCON", "\xa9gen", "WM/Genre", "Genre"),
}


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself; None where it does not."""

    duration_s: float | None = None
    codec: str | None = None
    sample_rate: int | None = None  # Hz
    channels: int | None = None
    title: str | None = None
    artist: str | None = None
    album: str | None = None
    genre: str | None = None


def read_header(path: bytes) -> Header:
    """The header of an audio file; all None when nothing can be read from it."""
    try:
        file = _open(path)
        return Header() if file is None else _facts(file)
    except Exception:  # mutagen raises what its parsers stumble over; the decoder will say what is wrong
        return Header()


def _open(path: bytes):
    """The file, as what its first bytes or, where these may be anything, its suffix says. None: nobody knows it."""
    by_magic = _kinds_by_magic(path)
    by_suffix = KINDS.get(os.fsdecode(path[path.rfind(b".") :]).lower())
    kinds = by_magic if by_magic and by_suffix not in by_magic else (by_suffix, *by_magic)
    for kind in dict.fromkeys(filter(None, kinds)):
        try:
            return kind(os.fsdecode(path))
        except mutagen.MutagenError:
            continue
    return None


def _kinds_by_magic(path: bytes) -> tuple[type, ...]:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ValueError("not a file")
        head = os.pread(file, 16, 0)
    finally:
        os.close(file)
    return next((kinds for at, magic, kinds in MAGIC if head.startswith(magic, at)), ())


def _facts(file) -> Header:
    info = file.info
    duration_s = getattr(info, "length", None)
    tags = {name: _tag(file.tags, keys) for name, keys in TAG_NAMES.items()}
    return Header(
        duration_s=float(duration_s) if duration_s and 0 < duration_s <= LONGEST_S else None,
        codec=_codec(file),
        sample_rate=_positive(getattr(info, "sample_rate", None)),
        channels=_positive(getattr(info, "channels", None)),
        **tags,
    )


def _codec(file) -> str | None:
    if isinstance(file, MP4):
        return "alac" if file.info.codec == "alac" else "aac"
    if isinstance(file, APEv2File) and type(file) not in CODECS:
        return None
    return CODECS.get(type(file))


def _positive(number) -> int | None:
    return int(number) if number and 0 < number <= MOST else None


def _tag(tags, keys: tuple[str, ...]) -> str | None:
    for key in keys if tags is not None else ():
        try:
            value = tags.get(key)
        except (KeyError, ValueError):  # Vorbis comments refuse keys that are not ASCII
            continue
        if value:
            return _clean(value)
    return None


def _clean(value) -> str | None:
    value = getattr(value, "genres", None) or getattr(value, "text", value)
    parts = value if isinstance(value, list | tuple) else [value]
    text = "; ".join(str(part) for part in parts)
    if not text.isprintable():
        text = "".join(char for char in text if char.isprintable())
    text = text.strip()
    return text.encode("utf-8", "replace").decode()[:LONGEST_TAG] or None
