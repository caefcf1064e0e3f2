"""Whether two files hold the same audio: the hash and the comparison of their payloads.

The payload of a file is the part that holds its audio, without tags and pictures. So writing tags changes neither.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from xxhash import xxh3_128

BLOCK_BYTES = 16 * 1024  # The size of the blocks of a large payload that are hashed.
BLOCKS = 16  # How many of them are hashed.
WHOLE_BYTES = BLOCKS * BLOCK_BYTES  # A payload of at most this size is hashed whole.
HASH_BYTES = 8  # The size of a hash. Files of equal hashes are compared, so that it may be short.
MAX_PARTS = 10_000  # How many tags, chunks, boxes or pages of a file are looked at. A damaged file may have millions.

OGG_MARK = b"OggS"  # The first bytes of an Ogg page.
OGG_PAGE_HEADER_BYTES = 27  # The size of a page's header without its table of segments.
OGG_NUMBERS = slice(18, 26)  # Where a page's header has the number and the checksum of the page.
OGG_NO_POSITION = 2**64 - 1  # The granule position of a page on which no packet ends.
ID3V2_HEADER_BYTES = 10
ID3V1_BYTES = 128
APE_FOOTER_BYTES = 32
UNKNOWN_CHUNK_BYTES = 0xFFFFFFFF  # The size of a RIFF chunk whose real size is elsewhere, or that is not finished.

Extents = list[tuple[int, int]]  # Parts of a file, by offset and length in bytes.


@dataclass(frozen=True, slots=True)
class Payload:
    """Where a file has its audio."""

    extents: Extents
    is_ogg: bool = False

    @property
    def length(self) -> int:
        """Bytes of audio."""
        return sum(size for _, size in self.extents)


def audio_hash(path: bytes) -> int:
    """A hash of the audio of a file: 64 bits as an integer with a sign, as databases have them.

    Of a large payload only its length and 16 blocks are hashed, which are spread evenly. So files of equal hashes are
    only candidates for copies, which same_audio has to confirm. Raises OSError when the file cannot be read.
    """
    with _open(path) as file:
        payload = find_payload(file)
        digest = xxh3_128(payload.length.to_bytes(8, "little"))
        for offset, size in _hashed_blocks(payload.length):
            digest.update(_read(file, payload, offset, size))
        return int.from_bytes(digest.digest()[-HASH_BYTES:], signed=True)


def same_audio(path: bytes, other_path: bytes) -> bool:
    """Whether the payloads of two files are equal byte for byte. False when one of the files cannot be read."""
    try:
        with _open(path) as file, _open(other_path) as other_file:
            payload, other = find_payload(file), find_payload(other_file)
            return payload.length == other.length and all(
                _read(file, payload, offset, WHOLE_BYTES) == _read(other_file, other, offset, WHOLE_BYTES)
                for offset in range(0, payload.length, WHOLE_BYTES)
            )
    except OSError:
        return False


@contextmanager
def _open(path: bytes) -> Iterator[int]:
    """A file's descriptor. Reading by os.pread takes a quarter of the time that seek and read of a file object take."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield file
    finally:
        os.close(file)


def _hashed_blocks(length: int) -> Iterator[tuple[int, int]]:
    """The blocks of a payload of this length that are hashed, by offset and size."""
    if length <= WHOLE_BYTES:
        return iter([(0, length)])
    return (((length - BLOCK_BYTES) * block // (BLOCKS - 1), BLOCK_BYTES) for block in range(BLOCKS))


def _read(file: int, payload: Payload, offset: int, size: int) -> bytes:
    """Bytes of the payload, counted as if its extents followed each other."""
    if not payload.is_ogg:
        return _read_extents(file, payload.extents, offset, size)
    before = min(offset, OGG_NUMBERS.stop)  # The header of a page may begin so many bytes before the offset.
    data = _read_extents(file, payload.extents, offset - before, before + size)
    return _blank_page_numbers(data)[before:]


def _read_extents(file: int, extents: Extents, offset: int, size: int) -> bytes:
    parts = []
    for start, length in extents:
        if size <= 0:
            break
        if offset < length:
            parts.append(os.pread(file, min(size, length - offset), start + offset))
            size -= length - offset
            offset = 0
        else:
            offset -= length
    return b"".join(parts)


def find_payload(file: int) -> Payload:
    """Where an open file has its audio. A file whose format is not known is all payload."""
    end = os.fstat(file).st_size
    start = _skip_id3v2(file, end)
    head = _pread(file, start, 16)
    is_ogg = head.startswith(OGG_MARK)
    if head.startswith(b"fLaC"):
        extents = _find_flac_frames(file, start + 4, end)
    elif head.startswith((b"RIFF", b"RF64")):
        extents = _find_chunk(file, start + 12, end, b"data", "little")
    elif head.startswith(b"FORM"):
        extents = _find_chunk(file, start + 12, end, b"SSND", "big")
    elif head[4:8] == b"ftyp":
        extents = _find_mp4_data(file, end)
    elif is_ogg:
        extents = _find_ogg_pages(file, start, end)
    else:
        extents = [(start, _skip_trailing_tags(file, start, end) - start)]
    payload = Payload(extents, is_ogg)
    return payload if payload.length > 0 else Payload([(0, end)])


def _pread(file: int, offset: int, size: int) -> bytes:
    """Bytes at an offset. One before the start of the file counts as the start."""
    return os.pread(file, size, max(0, offset))


def _skip_id3v2(file: int, end: int) -> int:
    """The offset behind the ID3v2 tags at the start of a file."""
    start = 0
    for _ in range(MAX_PARTS):
        head = _pread(file, start, ID3V2_HEADER_BYTES)
        if not head.startswith(b"ID3") or len(head) < ID3V2_HEADER_BYTES:
            break
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        has_footer = head[5] & 0x10
        start += ID3V2_HEADER_BYTES + size + (ID3V2_HEADER_BYTES if has_footer else 0)
    return start if start < end else 0


def _skip_trailing_tags(file: int, start: int, end: int) -> int:
    """Where the audio ends in front of the ID3v1 and APEv2 tags at the end of a file, which may be in any order."""
    for _ in range(4):
        if _pread(file, end - ID3V1_BYTES, 3) == b"TAG" and end - ID3V1_BYTES >= start:
            end -= ID3V1_BYTES
            continue
        footer = _pread(file, end - APE_FOOTER_BYTES, APE_FOOTER_BYTES)
        if not footer.startswith(b"APETAGEX") or len(footer) < APE_FOOTER_BYTES:
            break
        has_header = footer[23] & 0x80
        size = int.from_bytes(footer[12:16], "little") + (APE_FOOTER_BYTES if has_header else 0)
        if not APE_FOOTER_BYTES <= size <= end - start:
            break
        end -= size
    return end


def _find_flac_frames(file: int, position: int, end: int) -> Extents:
    """The frames of a FLAC file. They follow the block of metadata that is marked as the last one."""
    for _ in range(MAX_PARTS):
        head = _pread(file, position, 4)
        if len(head) < 4:
            break
        position += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            return [(position, max(0, _skip_trailing_tags(file, position, end) - position))]
    return []


def _find_chunk(file: int, position: int, end: int, name: bytes, order: Literal["little", "big"]) -> Extents:
    """The content of the first chunk of this name in a RIFF or AIFF file, whose sizes have this byte order."""
    for _ in range(MAX_PARTS):
        head = _pread(file, position, 8)
        if len(head) < 8:
            break
        size = int.from_bytes(head[4:], order)
        if head[:4] == name:
            is_to_end = size == UNKNOWN_CHUNK_BYTES or position + 8 + size > end
            return [(position + 8, end - position - 8 if is_to_end else size)]
        position += 8 + size + size % 2  # Chunks begin at even offsets.
    return []


def _find_mp4_data(file: int, end: int) -> Extents:
    """The contents of the boxes of an MP4 file that hold media data."""
    extents, position = [], 0
    for _ in range(MAX_PARTS):
        head = _pread(file, position, 16)
        if len(head) < 8:
            break
        size, header_size = int.from_bytes(head[:4], "big"), 8
        if size == 1:  # The size needs 64 bits.
            size, header_size = int.from_bytes(head[8:], "big"), 16
        size = min(size or end, end - position)  # A size of 0 means that the box goes to the end of the file.
        if size < header_size:
            break
        if head[4:8] == b"mdat":
            extents.append((position + header_size, size - header_size))
        position += size
    return extents


def _find_ogg_pages(file: int, position: int, end: int) -> Extents:
    """The pages of an Ogg file from the first one on which audio ends. Those before it hold headers and tags."""
    for _ in range(MAX_PARTS):
        head = _pread(file, position, OGG_PAGE_HEADER_BYTES)
        if len(head) < OGG_PAGE_HEADER_BYTES or not head.startswith(OGG_MARK):
            break
        if int.from_bytes(head[6:14], "little") not in (0, OGG_NO_POSITION):
            return [(position, end - position)]
        segments = head[26]
        position += OGG_PAGE_HEADER_BYTES + segments + sum(_pread(file, position + OGG_PAGE_HEADER_BYTES, segments))
    return []


def _blank_page_numbers(data: bytes) -> bytes:
    """The data with zeros for the numbers and checksums of its Ogg pages, which change when tags are written."""
    blanked, position = bytearray(data), data.find(OGG_MARK)
    while position >= 0:
        numbers = slice(position + OGG_NUMBERS.start, min(position + OGG_NUMBERS.stop, len(data)))
        blanked[numbers] = bytes(max(0, numbers.stop - numbers.start))
        position = data.find(OGG_MARK, position + 1)
    return bytes(blanked)
