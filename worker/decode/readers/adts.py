"""Finds where the frames of AAC in ADTS begin, by their own headers (ISO/IEC 13818-7, 6.2).

A frame's header is 7 bytes. It is read as one number of 64 bits together with the byte behind it, so that a field is
a shift and a mask. The fields that are used, and the position of their lowest bit in that number:

    52  sync word, 12 bits      51  version, 1 bit           49  layer, 2 bits, always 0    48  no checksum, 1 bit
    46  profile, 2 bits         42  sample rate, 4 bits      38  channels, 3 bits           21  frame length, 13 bits
     8  blocks in the frame less one, 2 bits
"""

import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

HEADER = struct.Struct(">Q")  # The seven bytes of a header, and one more.
SYNC_WORD = 0xFFF << 52
LAYER_MASK = 0b11 << 49
BLOCKS_MASK = 0b11 << 8

# A header of ADTS with one block in each frame: the sync word, with layer and further blocks both zero.
IS_ADTS_MASK, IS_ADTS = SYNC_WORD | LAYER_MASK | BLOCKS_MASK, SYNC_WORD

# The fields that all frames of a file have in common: all of the above but checksum and frame length.
COMMON_MASK = SYNC_WORD | 0b1 << 51 | LAYER_MASK | 0b11 << 46 | 0b1111 << 42 | 0b111 << 38 | BLOCKS_MASK

# Sample rates by the value of their field. The remaining values of the field are reserved.
RATES_HZ = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
FRAME_SAMPLES = 1024  # Samples of each channel in a frame, at the rate in its header.
TRAILING_TAGS = (b"TAG", b"APE")  # How tags behind the last frame begin: ID3v1 and APE.
CHUNK_BYTES = 1 << 17  # Bytes of the file that are read at a time.


class AdtsIndex(NamedTuple):
    """Where the frames of an ADTS file are.

    ADTS has neither a length nor an index. FFmpeg would read all packets to count them, and all packets before the
    target of each seek.
    """

    starts: Sequence[int]  # The first byte of each frame.
    header_hz: int  # The sample rate in the headers. The decoder gives twice this rate for AAC with SBR.

    def frame_at(self, moment_s: float) -> int:
        """The number of the frame that has this moment; of the first or last one, when the moment is outside."""
        return min(max(0, int(moment_s * self.header_hz / FRAME_SAMPLES)), len(self.starts) - 1)

    def first_sample(self, frame: int, rate: int) -> int:
        """The first sample, at `rate` Hz, of the frame of this number."""
        return round(frame * FRAME_SAMPLES * rate / self.header_hz)


def index_adts(path: bytes, position: int) -> AdtsIndex | None:
    """Index an ADTS file whose first frame is at byte `position`.

    None where frames of one kind do not follow one another from there to the end, or where the file cannot be read.
    """
    chunk, starts, first = bytearray(CHUNK_BYTES), array("q"), 0
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (pathlib takes no bytes)
            while file.seek(position) == position and (size := file.readinto(chunk) or 0) >= HEADER.size:
                if not first:
                    (first,) = HEADER.unpack_from(chunk)
                offset = _follow(memoryview(chunk)[:size], position, first & COMMON_MASK, starts)
                position += offset
                if offset <= size - HEADER.size:  # Something else than a frame follows.
                    if chunk[offset : offset + 3] not in TRAILING_TAGS:
                        return None
                    break
    except OSError:
        return None
    rate_index = first >> 42 & 0b1111
    if not starts or first & IS_ADTS_MASK != IS_ADTS or rate_index >= len(RATES_HZ):
        return None
    return AdtsIndex(starts, RATES_HZ[rate_index])


def _follow(chunk: memoryview, position: int, common: int, starts: "array[int]") -> int:
    """Add to `starts` where frames begin in a chunk that is at byte `position` of the file and begins with a frame.

    common: what the headers of all frames have in COMMON_MASK. Returns the offset in the chunk where the next thing
    begins: a frame whose header is not all in the chunk, or something else than a frame.
    """
    offset, last, unpack = 0, len(chunk) - HEADER.size, HEADER.unpack_from
    while offset <= last:
        (header,) = unpack(chunk, offset)
        frame_bytes = header >> 21 & 0x1FFF
        if header & COMMON_MASK != common or frame_bytes < HEADER.size:
            break
        starts.append(position + offset)
        offset += frame_bytes
    return offset
