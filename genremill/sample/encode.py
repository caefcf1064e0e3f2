"""Writing samples to tagged audio files, each whole or not at all."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
import numpy.typing as npt
import soundfile
from av.audio.stream import AudioStream
from mutagen import FileType
from mutagen.easymp4 import EasyMP4
from mutagen.flac import FLAC
from mutagen.id3 import TALB, TCON, TDRC, TIT2, TPE1, TPE2, Encoding, Frame
from mutagen.mp3 import EasyMP3
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from worker.whole_file import whole_file

Pcm = npt.NDArray[np.int16] | npt.NDArray[np.float32]  # (n, channels); full scale is 32768 or 1.


class Encoder(Protocol):
    """A way to encode samples."""

    def encode(self, path: Path, blocks: Iterable[Pcm], sample_rate: int, channels: int) -> None:
        """Write the blocks, each (n, channels), to the path, whose suffix does not matter."""
        ...


@dataclass(frozen=True)
class SoundfileEncoder:
    """Encoding with libsndfile, through soundfile. The fields are arguments of soundfile.SoundFile."""

    format: str
    subtype: str | None = None
    bitrate_mode: str | None = None
    compression_level: float | None = None

    def encode(self, path: Path, blocks: Iterable[Pcm], sample_rate: int, channels: int) -> None:
        """Write the blocks, as Encoder.encode."""
        with soundfile.SoundFile(
            path,
            "w",
            sample_rate,
            channels,
            format=self.format,
            subtype=self.subtype,
            bitrate_mode=self.bitrate_mode,
            compression_level=self.compression_level,
        ) as file:
            for block in blocks:
                file.write(_as_float(block) if self.format == "MP3" else block)


def _as_float(block: Pcm) -> Pcm:
    """The block as float32 in [-1, 1). libsndfile 1.2.2 takes only half of each block of int16 in stereo for MP3, and
    encodes noise in its place (its pull request 1106)."""
    return block if block.dtype == np.float32 else block.astype(np.float32) / np.float32(32_768)


@dataclass(frozen=True)
class AvEncoder:
    """Encoding with FFmpeg, through PyAV."""

    container: str  # FFmpeg's name of the file format.
    codec: str  # FFmpeg's name of the encoder.
    bit_rate: int | None = None  # Bits per second; None: the encoder's default, or lossless.
    sample_format: str | None = None  # FFmpeg's name of the samples that are encoded; None: the encoder's default.
    options: dict[str, str] = field(default_factory=dict)  # The encoder's own options.

    def encode(self, path: Path, blocks: Iterable[Pcm], sample_rate: int, channels: int) -> None:
        """Write the blocks, as Encoder.encode."""
        layout = "stereo" if channels == 2 else "mono"
        with av.open(str(path), "w", format=self.container) as file:
            stream = file.add_stream(self.codec, rate=sample_rate, layout=layout, options=self.options)
            assert isinstance(stream, AudioStream)
            if self.bit_rate:
                stream.bit_rate = self.bit_rate
            if self.sample_format:
                stream.codec_context.format = self.sample_format
            for frame in _frames(blocks, sample_rate, layout):
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))


def _frames(blocks: Iterable[Pcm], sample_rate: int, layout: str) -> Iterator[av.AudioFrame]:
    """The blocks as frames of FFmpeg. PyAV converts them to what an encoder takes."""
    position = 0
    for block in blocks:
        if block.dtype == np.int16:
            interleaved = np.ascontiguousarray(block, dtype=np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(interleaved, "s16", layout)
        else:
            planes = np.ascontiguousarray(block.T, dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(planes, "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = sample_rate, position, Fraction(1, sample_rate)
        position += len(block)
        yield frame


def encode_pcm(path: Path, pcm: Pcm, sample_rate: int, encoder: Encoder) -> None:
    """Encode samples (n, channels)."""
    encoder.encode(path, split_seconds(pcm, sample_rate), sample_rate, pcm.shape[1])


def split_seconds(pcm: Pcm, sample_rate: int) -> Iterator[Pcm]:
    """Samples in blocks of a second: libsndfile can crash on a long MP3 or Ogg file that is written in one call."""
    return (pcm[start : start + sample_rate] for start in range(0, len(pcm), sample_rate))


SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a")  # Of the files that tracks are written to.


def default_encoder(suffix: str, channels: int) -> Encoder:
    """The encoder for tracks whose files have this suffix. Raises ValueError where there is none.

    An MP3 file has 112 kbit/s per channel. LAME, which encodes it, needs half the time through PyAV, but not every
    build of PyAV has it.
    """
    if suffix not in SUFFIXES:
        raise ValueError(f"cannot write {suffix!r}; there are {', '.join(SUFFIXES)}")
    if suffix == ".m4a":
        return AvEncoder("ipod", "aac", 96_000 * channels, options={"aac_coder": "fast"})
    if suffix == ".mp3" and "libmp3lame" in av.codecs_available:
        return AvEncoder("mp3", "libmp3lame", 112_000 * channels, options={"compression_level": "7"})
    if suffix == ".mp3":
        return SoundfileEncoder("MP3", bitrate_mode="CONSTANT", compression_level=0.33)
    return SoundfileEncoder(suffix[1:].upper())


def write_track(path: Path, pcm: Pcm, sample_rate: int, tags: dict[str, str], encoder: Encoder | None = None) -> None:
    """Write samples (n,) or (n, channels) to a tagged file, as write_blocks."""
    pcm = pcm.reshape(len(pcm), -1)
    write_blocks(path, split_seconds(pcm, sample_rate), sample_rate, pcm.shape[1], tags, encoder)


def write_blocks(
    path: Path,
    blocks: Iterable[Pcm],
    sample_rate: int,
    channels: int,
    tags: dict[str, str],
    encoder: Encoder | None = None,
) -> None:
    """Write blocks (n, channels) to a tagged file, whole or not at all, with the default encoder or another one.

    The tags are title, artist, albumartist, album, date and genre; any may be missing. Raises ValueError for an unknown
    suffix.
    """
    encoder = encoder or default_encoder(path.suffix, channels)
    with whole_file(path) as unfinished:
        encoder.encode(unfinished, blocks, sample_rate, channels)
        write_tags(unfinished, tags, path.suffix)


TAG_READERS: dict[str, Callable[[Path], FileType]] = {
    ".wav": WAVE,
    ".flac": FLAC,
    ".ogg": OggVorbis,
    ".mp3": EasyMP3,
    ".m4a": EasyMP4,
}
WAV_TAGS: dict[str, Callable[..., Frame]] = {
    "title": TIT2, "artist": TPE1, "albumartist": TPE2, "album": TALB, "date": TDRC, "genre": TCON,
}  # fmt: skip


def write_tags(path: Path, tags: dict[str, str], suffix: str) -> None:
    """Add tags, or replace them, in a file of the kind that has this suffix."""
    file = TAG_READERS[suffix](path)
    if suffix == ".wav":  # Here mutagen knows tags only as the frames of ID3.
        file.add_tags()
        for name, text in tags.items():
            frame = WAV_TAGS[name](encoding=Encoding.UTF8, text=text)
            file[frame.FrameID] = frame
    else:
        for name, text in tags.items():
            file[name] = text
    file.save()
