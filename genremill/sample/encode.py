"""PCM to a tagged file, whole or not at all."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile
from mutagen.easymp4 import EasyMP4
from mutagen.flac import FLAC
from mutagen.id3 import TALB, TCON, TIT2, TPE1
from mutagen.mp3 import EasyMP3
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

PLAYABLE = (".wav", ".flac", ".ogg", ".mp3", ".m4a")


class Codec(NamedTuple):
    """An encoder of PyAV."""

    name: str
    container: str
    channel_bit_rate: int  # bit/s
    options: dict[str, str]


AV_CODECS = {  # LAME at this speed takes half of soundfile's time
    ".m4a": Codec("aac", "ipod", 96_000, {"aac_coder": "fast"}),
    ".mp3": Codec("libmp3lame", "mp3", 112_000, {"compression_level": "7"}),
}
SOUNDFILE_OPTIONS = {
    ".mp3": {"bitrate_mode": "CONSTANT", "compression_level": 0.33}
}  # 224 kbit/s, where PyAV has no LAME


def write_track(path: Path, pcm: np.ndarray, sample_rate: int, tags: dict[str, str], **encoding) -> None:
    """Encode pcm, float32 (n,) or (n, channels), as the suffix says, with tags title, artist, album, genre.

    The file appears whole or not at all. `encoding` goes to soundfile: subtype, bitrate_mode, compression_level.
    """
    pcm = pcm.reshape(len(pcm), -1)
    seconds = (pcm[at : at + sample_rate] for at in range(0, len(pcm), sample_rate))
    with whole_file(path) as unfinished:
        encode_blocks(unfinished, seconds, sample_rate, pcm.shape[1], path.suffix, encoding)
        write_tags(unfinished, tags, path.suffix)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write under, given to the path once nothing can go wrong any more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def encode_blocks(
    path: Path, blocks: Iterable[np.ndarray], rate: int, channels: int, suffix: str, encoding: dict
) -> None:
    """Blocks (n, channels) of about a second each: a long MP3 or OGG in one call can crash libsndfile."""
    if suffix not in PLAYABLE:
        raise ValueError(f"cannot write {suffix!r}; there are {', '.join(PLAYABLE)}")
    codec = AV_CODECS.get(suffix)
    if codec and not encoding and codec.name in av.codecs_available:
        _encode_av(path, blocks, rate, channels, codec)
        return
    encoding = encoding or SOUNDFILE_OPTIONS.get(suffix, {})
    with soundfile.SoundFile(path, "w", rate, channels, format=suffix[1:].upper(), **encoding) as file:
        for block in blocks:
            file.write(block)


def _encode_av(path: Path, blocks: Iterable[np.ndarray], rate: int, channels: int, codec: Codec) -> None:
    with av.open(str(path), "w", format=codec.container) as file:
        stream = file.add_stream(
            codec.name, rate=rate, layout="stereo" if channels == 2 else "mono", options=codec.options
        )
        stream.bit_rate, at = codec.channel_bit_rate * channels, 0
        for block in blocks:
            planes = np.ascontiguousarray(block.T, dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=stream.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            at += len(block)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def write_tags(path: Path, tags: dict[str, str], suffix: str) -> None:
    if suffix == ".wav":
        file = WAVE(path)
        file.add_tags()
        for name, frame in {"title": TIT2, "artist": TPE1, "album": TALB, "genre": TCON}.items():
            if name in tags:
                file.tags.add(frame(encoding=3, text=tags[name]))
    else:
        file = {".flac": FLAC, ".ogg": OggVorbis, ".mp3": EasyMP3, ".m4a": EasyMP4}[suffix](path)
        file.update(tags)
    file.save()
