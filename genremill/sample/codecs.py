"""The same audio in every codec that people keep music in, for benchmarks and tests of decoding."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr

from genremill.sample.encode import AvEncoder, Encoder, Pcm, SoundfileEncoder, encode_pcm
from worker.whole_file import whole_file

OPUS_HZ = 48_000  # The sample rate of Opus, which has no other.
XING_TAG = b"Xing"  # Marks the first frame of an MP3 file as the header that says how long the file is.
MPEG_SYNC = b"\xff\xfb"  # The first two bytes of a frame of MPEG-1 layer III without a checksum.
MPEG_KBIT_S = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # By the bit rate index of a frame.
MPEG_FRAME_SAMPLES = 1152  # Samples of a frame of MPEG-1 layer III.


@dataclass(frozen=True)
class OpusEncoder:
    """Opus in an Ogg file."""

    bit_rate: int  # Bits per second.

    def encode(self, path: Path, blocks: Iterable[Pcm], sample_rate: int, channels: int) -> None:
        """Write the blocks, which are int16, as Encoder.encode."""
        pcm = np.concatenate(list(blocks)).astype(np.float32)
        resampled = soxr.resample(pcm, sample_rate, OPUS_HZ)
        samples = np.rint(resampled).clip(-32768, 32767).astype(np.int16)
        encode_pcm(path, samples, OPUS_HZ, AvEncoder("ogg", "libopus", self.bit_rate))


@dataclass(frozen=True)
class HeaderlessMp3Encoder:
    """MP3 with a variable bit rate, and without the header that would say how long the file is."""

    compression_level: float

    def encode(self, path: Path, blocks: Iterable[Pcm], sample_rate: int, channels: int) -> None:
        """Write the blocks, as Encoder.encode."""
        SoundfileEncoder("MP3", None, "VARIABLE", self.compression_level).encode(path, blocks, sample_rate, channels)
        data = path.read_bytes()
        path.write_bytes(_without_xing_frame(data, sample_rate))


def _without_xing_frame(data: bytes, sample_rate: int) -> bytes:
    """An MP3 file without anything up to the end of its first frame. Raises ValueError if that is no Xing header.

    The third byte of a frame has the index of its bit rate in the upper four bits, then two bits for the sample rate,
    then the padding bit, which says that the frame is one byte longer.
    """
    start = data.index(MPEG_SYNC)
    third_byte = data[start + 2]
    bit_rate = 1000 * MPEG_KBIT_S[third_byte >> 4]
    padding = (third_byte >> 1) & 1
    end = start + MPEG_FRAME_SAMPLES // 8 * bit_rate // sample_rate + padding
    if XING_TAG not in data[start:end]:
        raise ValueError("the first frame is no Xing header")
    return data[end:]


class Codec(NamedTuple):
    """A kind of file."""

    file_name: str
    encoder: Encoder


CODECS: dict[str, Codec] = {
    "wav": Codec("a.wav", SoundfileEncoder("WAV", "PCM_16")),
    "wav 24 bit": Codec("b.wav", SoundfileEncoder("WAV", "PCM_24")),
    "aiff": Codec("a.aiff", SoundfileEncoder("AIFF", "PCM_16")),
    "flac": Codec("a.flac", SoundfileEncoder("FLAC", "PCM_16")),
    "ogg": Codec("a.ogg", SoundfileEncoder("OGG", "VORBIS")),
    "opus": Codec("a.opus", OpusEncoder(128_000)),
    "mp3 192": Codec("cbr192.mp3", SoundfileEncoder("MP3", None, "CONSTANT", 0.4)),
    "mp3 320": Codec("cbr320.mp3", SoundfileEncoder("MP3", None, "CONSTANT", 0.0)),
    "mp3 vbr": Codec("vbr.mp3", SoundfileEncoder("MP3", None, "VARIABLE", 0.5)),
    "mp3 vbr bare": Codec("bare.mp3", HeaderlessMp3Encoder(0.5)),
    "aac": Codec("aac.m4a", AvEncoder("ipod", "aac", 192_000)),
    "aac adts": Codec("adts.aac", AvEncoder("adts", "aac", 192_000)),
    "alac": Codec("alac.m4a", AvEncoder("ipod", "alac", sample_format="s16p")),
    "wma": Codec("a.wma", AvEncoder("asf", "wmav2", 192_000)),
    "wavpack": Codec("a.wv", AvEncoder("wv", "wavpack", sample_format="s16p")),
}


def encode_all(folder: Path, pcm: Pcm, sample_rate: int, names: Iterable[str] = CODECS) -> dict[str, Path]:
    """Write int16 samples (n, channels) in each of these codecs, where the file is not there yet.

    Returns the paths by the names of the codecs. Monkey's Audio is not among the CODECS, for want of an encoder.
    """
    paths = {name: folder / CODECS[name].file_name for name in names}
    for name, path in paths.items():
        if not path.exists():
            with whole_file(path) as unfinished:
                encode_pcm(unfinished, pcm, sample_rate, CODECS[name].encoder)
    return paths
