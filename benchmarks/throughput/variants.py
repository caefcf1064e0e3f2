"""Variants of a composed base track: the same audio, started at another place."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

SHORT_S = 10.0  # Seconds of a variant that is cut out of its base as WAV.
SAMPLE_RATE = 44_100  # Hz, of all bases.
MPEG1_KBIT_S = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # Bit rates of layer III by index.
MP3_FRAME_SAMPLES = 1152  # Samples in a frame of MPEG-1 layer III.


class Variant(NamedTuple):
    """A track to be made of a base: it starts at this share of the base's length, in [0, 1)."""

    path: Path
    share: float


def write_variants(base: Path, variants: list[Variant]) -> None:
    """Write some variants of a base, all with the same ending."""
    write = {".mp3": rotate_frames, ".flac": rotate_samples, ".wav": cut_out}[variants[0].path.suffix]
    write(base, variants)


def rotate_frames(base: Path, variants: list[Variant]) -> None:
    """Write the MP3 with its frames rotated. The first frame stays in front: it says how many there are."""
    info, *frames = split_frames(base.read_bytes())
    for path, share in variants:
        first = int(share * len(frames))
        path.write_bytes(b"".join([info, *frames[first:], *frames[:first]]))


def split_frames(mp3: bytes) -> list[bytes]:
    """The frames of an MP3 of 44.1 kHz that has no tags. Raises ValueError for anything else."""
    frames, position = [], 0
    while position < len(mp3):
        if mp3[position] != 0xFF or mp3[position + 1] & 0xFE != 0xFA:
            raise ValueError(f"there is no frame of MPEG-1 layer III at byte {position}")
        kbit_s, padding = MPEG1_KBIT_S[mp3[position + 2] >> 4], mp3[position + 2] >> 1 & 1
        size = 144_000 * kbit_s // SAMPLE_RATE + padding  # bytes: 1152 samples at this bit rate
        frames.append(mp3[position : position + size])
        position += size
    return frames


def rotate_samples(base: Path, variants: list[Variant]) -> None:
    """Write the FLAC with its samples rotated, encoded anew at libsndfile's default level."""
    pcm, rate = soundfile.read(base, dtype="int16")
    for path, share in variants:
        soundfile.write(path, np.roll(pcm, -int(share * len(pcm)), axis=0), rate)


def cut_out(base: Path, variants: list[Variant]) -> None:
    """Write SHORT_S seconds of the base as WAV."""
    pcm, rate = soundfile.read(base, dtype="int16")
    length = int(SHORT_S * rate)
    for path, share in variants:
        start = int(share * (len(pcm) - length))
        soundfile.write(path, pcm[start : start + length], rate)


def first_sample(base: Path, variant: Variant) -> int:
    """The sample of the base that the variant's first one is."""
    if variant.path.suffix == ".mp3":
        frames = split_frames(base.read_bytes())[1:]
        return int(variant.share * len(frames)) * MP3_FRAME_SAMPLES
    samples = soundfile.info(base).frames
    if variant.path.suffix == ".wav":
        samples -= int(SHORT_S * SAMPLE_RATE)
    return int(variant.share * samples)
