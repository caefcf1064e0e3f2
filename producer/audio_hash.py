"""What makes two files the same audio: the audio payload without tags and pictures."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from xxhash import xxh3_128

BLOCK_BYTES = 16 * 1024
BLOCKS = 16
WHOLE_BYTES = BLOCKS * BLOCK_BYTES  # a payload up to this size is hashed whole
OGG_MARK = b"OggS"
OGG_PAGE_HEADER_BYTES = 27
OGG_NUMBERS = slice(18, 26)  # of a page header: the page's number and checksum
MOST_PARTS = 10_000  # tags, chunks, boxes or pages that are looked at: a partial download may be hours of zeros

Extents = list[tuple[int, int]]  # offset and length, in bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """Where the audio of a file is."""

    extents: Extents
    is_ogg: bool = False

    @property
    def length(self) -> int:
        """Bytes of audio."""
        return sum(size for _, size in self.extents)


def audio_hash(path: bytes) -> str:
    """32 hex digits for the audio of a file, whatever its tags are.

    Of a large payload 16 blocks, evenly spread, and the length are hashed: equal hashes make two files candidates,
    and same_audio decides before they share an analysis. Raises OSError.
    """
    with _open(path) as file:
        payload = find_payload(file)
        digest = xxh3_128(payload.length.to_bytes(8, "little"))
        for offset, size in _sampled(payload.length):
            digest.update(_read(file, payload, offset, size))
        return digest.hexdigest()


def same_audio(one: bytes, other: bytes) -> bool:
    """Whether the payloads of two files are equal byte for byte; False when one of them cannot be read."""
    try:
        with _open(one) as a, _open(other) as b:
            payload_a, payload_b = find_payload(a), find_payload(b)
            if payload_a.length != payload_b.length:
                return False
            offsets = range(0, payload_a.length, WHOLE_BYTES)
            return all(_read(a, payload_a, o, WHOLE_BYTES) == _read(b, payload_b, o, WHOLE_BYTES) for o in offsets)
    except OSError:
        return False


@contextmanager
def _open(path: bytes) -> Iterator[int]:
    """A descriptor: reading at offsets through it costs a quarter of what a file object's seek and read do."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield file
    finally:
        os.close(file)


def _sampled(length: int) -> Iterator[tuple[int, int]]:
    """Offset and size of what is hashed."""
    if length <= WHOLE_BYTES:
        return iter([(0, length)])
    return (((length - BLOCK_BYTES) * block // (BLOCKS - 1), BLOCK_BYTES) for block in range(BLOCKS))


def _read(file: int, payload: Payload, offset: int, size: int) -> bytes:
    """Bytes of the payload, as if its extents were one."""
    if not payload.is_ogg:
        return _join(file, payload.extents, offset, size)
    before = min(offset, OGG_NUMBERS.stop)  # a page header may begin before the bytes that are asked for
    return _blank_page_numbers(_join(file, payload.extents, offset - before, before + size))[before:]


def _join(file: int, extents: Extents, offset: int, size: int) -> bytes:
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
    """Where the audio of an open file is. A file that is not understood is all payload."""
    end = os.fstat(file).st_size
    start = _skip_id3v2(file, end)
    head = _at(file, start, 16)
    if head.startswith(b"fLaC"):
        found = _flac(file, start + 4, end)
    elif head.startswith((b"RIFF", b"RF64", b"FORM")):
        found = _chunks(file, start + 12, end, b"SSND" if head.startswith(b"FORM") else b"data", head[:4])
    elif head[4:8] == b"ftyp":
        found = _mp4(file, end)
    elif head.startswith(OGG_MARK):
        found = _ogg(file, start, end)
    else:
        found = [(start, _skip_trailing_tags(file, start, end) - start)]
    payload = Payload(found, is_ogg=head.startswith(OGG_MARK))
    return payload if payload.length > 0 else Payload([(0, end)])


def _at(file: int, offset: int, size: int) -> bytes:
    return os.pread(file, size, max(0, offset))


def _skip_id3v2(file: int, end: int) -> int:
    start = 0
    for _ in range(MOST_PARTS):
        head = _at(file, start, 10)
        if not head.startswith(b"ID3") or len(head) < 10:
            break
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        start += 10 + size + (10 if head[5] & 0x10 else 0)
    return start if start < end else 0


def _skip_trailing_tags(file: int, start: int, end: int) -> int:
    """The end of the audio in front of ID3v1 and APEv2 tags, in any order."""
    for _ in range(4):
        if _at(file, end - 128, 3) == b"TAG" and end - 128 >= start:
            end -= 128
            continue
        footer = _at(file, end - 32, 32)
        if not footer.startswith(b"APETAGEX") or len(footer) < 32:
            break
        size = int.from_bytes(footer[12:16], "little") + (32 if footer[23] & 0x80 else 0)
        if not 32 <= size <= end - start:
            break
        end -= size
    return end


def _flac(file: int, position: int, end: int) -> Extents:
    """From the first frame on: behind the block that is marked as the last of the metadata."""
    for _ in range(MOST_PARTS):
        head = _at(file, position, 4)
        if len(head) < 4:
            break
        position += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            return [(position, max(0, _skip_trailing_tags(file, position, end) - position))]
    return []


def _chunks(file: int, position: int, end: int, wanted: bytes, form: bytes) -> Extents:
    order = "big" if form == b"FORM" else "little"
    for _ in range(MOST_PARTS):
        head = _at(file, position, 8)
        if len(head) < 8:
            break
        size = int.from_bytes(head[4:], order)
        if head[:4] == wanted:
            whole = size == 0xFFFFFFFF or position + 8 + size > end
            return [(position + 8, end - position - 8 if whole else size)]
        position += 8 + size + size % 2
    return []


def _mp4(file: int, end: int) -> Extents:
    found, position = [], 0
    for _ in range(MOST_PARTS):
        head = _at(file, position, 16)
        if len(head) < 8:
            break
        size, body = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, body = int.from_bytes(head[8:], "big"), 16
        size = min(size or end, end - position)
        if size < body:
            break
        if head[4:8] == b"mdat":
            found.append((position + body, size - body))
        position += size
    return found


def _ogg(file: int, position: int, end: int) -> Extents:
    """From the first page on that ends audio: header pages have the granule position 0 or none."""
    for _ in range(MOST_PARTS):
        head = _at(file, position, OGG_PAGE_HEADER_BYTES)
        if len(head) < OGG_PAGE_HEADER_BYTES or not head.startswith(OGG_MARK):
            break
        if int.from_bytes(head[6:14], "little") not in (0, 2**64 - 1):
            return [(position, end - position)]
        position += OGG_PAGE_HEADER_BYTES + head[26] + sum(_at(file, position + OGG_PAGE_HEADER_BYTES, head[26]))
    return []


def _blank_page_numbers(data: bytes) -> bytes:
    """Retagging an Ogg file renumbers its pages: their numbers and checksums are no part of the audio."""
    blanked, position = bytearray(data), data.find(OGG_MARK)
    while position >= 0:
        numbers = slice(position + OGG_NUMBERS.start, min(position + OGG_NUMBERS.stop, len(data)))
        blanked[numbers] = bytes(max(0, numbers.stop - numbers.start))
        position = data.find(OGG_MARK, position + 1)
    return bytes(blanked)
