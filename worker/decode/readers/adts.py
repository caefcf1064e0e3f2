"""Where the frames of AAC in ADTS begin, by their own headers (ISO/IEC 13818-7, 6.2)."""

import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

HEADER = struct.Struct(">Q")  # its seven bytes, and one more
SYNC, IS_SYNC = 0xFFF6_0000_0000_0300, 0xFFF0_0000_0000_0000  # the bits that say ADTS with a block a frame
SAME = 0xFFFE_FDC0_0000_0300  # bits that do not change in a file: sync, version, profile, rate, channels, blocks
RATES_HZ = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
FRAME_SAMPLES = 1024  # at the header's rate
TAGS = (b"TAG", b"APE")  # what may follow the last frame
CHUNK_BYTES = 1 << 17


class AdtsIndex(NamedTuple):
    """Where the frames of an ADTS file are. It says neither that nor how long it is: FFmpeg would read all packets to
    count them, and once more all that are before a target."""

    starts: Sequence[int]  # bytes
    header_hz: int  # half of what is heard where there is SBR

    def number(self, moment_s: float) -> int:
        """The frame that has this moment, or is next to it."""
        return min(max(0, int(moment_s * self.header_hz / FRAME_SAMPLES)), len(self.starts) - 1)

    def begin(self, number: int, rate: int) -> int:
        """The first sample, at `rate`, of the frame of this number."""
        return round(number * FRAME_SAMPLES * rate / self.header_hz)


def adts_index(path: bytes, at: int) -> AdtsIndex | None:
    """None where frames of one kind do not follow each other from byte `at` to the end."""
    chunk, starts, first = bytearray(CHUNK_BYTES), array("q"), None
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (pathlib takes no bytes)
            while file.seek(at) == at and (size := file.readinto(chunk)) >= HEADER.size:
                if first is None:
                    (first,) = HEADER.unpack_from(chunk)
                offset = _follow(memoryview(chunk)[:size], at, first & SAME, starts)
                if offset <= size - HEADER.size:
                    if chunk[offset : offset + 3] not in TAGS:
                        return None
                    break
                at += offset
    except OSError:
        return None
    if not starts or first & SYNC != IS_SYNC or first >> 42 & 15 >= len(RATES_HZ):
        return None
    return AdtsIndex(starts, RATES_HZ[first >> 42 & 15])


def _follow(chunk: memoryview, at: int, same: int, starts: array) -> int:
    """Add where frames begin in a chunk that is at byte `at` of the file and begins with one. Returns where in it the
    next thing begins: a frame whose header is not all there, or something else."""
    offset, last, unpack = 0, len(chunk) - HEADER.size, HEADER.unpack_from
    while offset <= last:
        (header,) = unpack(chunk, offset)
        size = header >> 21 & 0x1FFF
        if header & SAME != same or size < HEADER.size:
            break
        starts.append(at + offset)
        offset += size
    return offset
