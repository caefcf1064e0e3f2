"""Broken audio files without end. Each is made of intact files and two numbers, from which it can be made again."""

import struct
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from mutagen.ogg import OggPage
from numpy.random import Generator

Bytes = npt.NDArray[np.uint8]  # The bytes of a file: (n,).

EDGE_BYTES = 4096  # Bytes at the front of a file that count as its header, and at the back as its end.
FIELDS_BYTES = 200  # Bytes at the front in which the sample rate, the channels and the number of frames stand.
MAX_FLIPPED_BITS = 1000
MAX_PICTURE_BYTES = 24 << 20
MAX_LYING_TAG_BYTES = 1 << 28  # The largest size that a lying ID3 tag claims.
MAX_TAG_BYTES = 1 << 16  # The most bytes that follow the header of a lying ID3 tag.
MAX_RANDOM_BYTES = 1 << 20
MAX_TEXT_REPEATS = 1000
MAX_STUB_BYTES = 64
TAG_VALUE_BYTES = 1 << 12  # Bytes of the title in an APE tag.
TEXTS = (
    b"<!DOCTYPE html><title>404 Not Found</title><p>The track has moved.\n",
    b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:other.wav\n",
    b"ffconcat version 1.0\nfile 'other.wav'\n",
    "Ein Stück, das keines ist. ".encode(),
)
# Where containers write lengths: a mark, how many bytes behind the mark's beginning the length stands, and its format
# for struct. One that the file contains is drawn; the last one only where the file contains no other.
LENGTH_FIELDS = (
    (b"fLaC", 4, ">I"),
    (b"RIFF", 4, "<I"),
    (b"fmt ", 4, "<I"),
    (b"data", 4, "<I"),
    (b"FORM", 4, ">I"),
    (b"COMM", 4, ">I"),
    (b"SSND", 4, ">I"),
    (b"\x03vorbis", 7, "<I"),
    (b"OpusTags", 8, "<I"),
    (b"moov", -4, ">I"),
    (b"mdat", -4, ">I"),
    (b"stsd", -4, ">I"),
    (b"stsd", 8, ">I"),
    (b"stts", 8, ">I"),
    (b"stsz", 12, ">I"),
    (b"stco", 8, ">I"),
    (b"esds", -4, ">I"),
    (b"alac", -4, ">I"),
    (b"wvpk", 4, "<I"),
    (b"MAC ", 8, "<I"),
    (bytes.fromhex("3026b2758e66cf11"), 16, "<Q"),  # ASF: the header object
    (bytes.fromhex("a1dcab8c47a9cf11"), 16, "<Q"),  # ASF: the properties of the file
    (bytes.fromhex("9107dcb7b7a9cf11"), 16, "<Q"),  # ASF: the properties of a stream
    (b"Xing", 8, ">I"),
    (b"Info", 8, ">I"),
    (b"\xff", 3, ">I"),  # MPEG and ADTS, whose frames have lengths of a few bits in their headers
)
LYING_LENGTHS = (0, 1, 0x7FFF, 0xFFFF, 0xFFFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)

# Gets random numbers, the file's bytes, which it may change, and the bytes of another file. Returns the broken file.
Mutation = Callable[[Generator, Bytes, bytes], bytes | Bytes]


class BrokenFile(NamedTuple):
    """A broken file that is not written yet."""

    number: int
    mutation: str
    name: str
    data: bytes | Bytes


def break_file(intact: Sequence[Path], seed: int, number: int) -> BrokenFile:
    """The broken file of this number. Equal arguments give equal files.

    intact: files in at least two formats. Mutations take turns, and within each mutation the files do.
    """
    rng, mutations = np.random.default_rng((seed, number)), list(MUTATIONS)
    mutation = mutations[number % len(mutations)]
    path = intact[number // len(mutations) % len(intact)]
    others = [other for other in intact if other.suffix != path.suffix]
    other = others[rng.integers(len(others))]
    data = MUTATIONS[mutation](rng, np.frombuffer(bytearray(path.read_bytes()), np.uint8), other.read_bytes())
    suffix = other.suffix if mutation == WRONG_SUFFIX else path.suffix
    return BrokenFile(number, mutation, f"{number} {mutation} {path.stem}{suffix}", data)


def draw_count(rng: Generator, limit: int) -> int:
    """A number from 1 to `limit`, of which each power of ten is as likely as the others."""
    return int(limit ** rng.random())


def draw_stretch(rng: Generator, data: Bytes) -> slice:
    """A stretch of the file, of any length."""
    begin = int(rng.integers(len(data)))
    return slice(begin, begin + draw_count(rng, len(data)))


def flip_bits(rng: Generator, data: Bytes, begin: int, end: int | None = None) -> Bytes:
    """Flip bits of a part of the file."""
    part = data[begin:end]
    count = draw_count(rng, MAX_FLIPPED_BITS)
    part[rng.integers(len(part), size=count)] ^= np.left_shift(1, rng.integers(8, size=count)).astype(np.uint8)
    return data


def overwrite(rng: Generator, data: Bytes, make_bytes: Callable[[int], Bytes | int]) -> Bytes:
    """Write over a stretch what `make_bytes` returns for its length."""
    stretch = draw_stretch(rng, data)
    data[stretch] = make_bytes(len(data[stretch]))
    return data


def duplicate(rng: Generator, data: Bytes, _other: bytes) -> Bytes:
    """Insert a copy of a stretch anywhere."""
    position = int(rng.integers(len(data)))
    return np.concatenate([data[:position], data[draw_stretch(rng, data)], data[position:]])


def remove(rng: Generator, data: Bytes, _other: bytes) -> Bytes:
    """Leave a stretch out."""
    stretch = draw_stretch(rng, data)
    return np.concatenate([data[: stretch.start], data[stretch.stop :]])


def swap(rng: Generator, data: Bytes, _other: bytes) -> Bytes:
    """Exchange two stretches that lie side by side."""
    first, middle, last = sorted(rng.integers(len(data), size=3))
    return np.concatenate([data[:first], data[middle:last], data[first:middle], data[last:]])


def set_extreme_fields(rng: Generator, data: Bytes, _other: bytes) -> Bytes:
    """Set a few bytes near the front to extreme values."""
    position = int(rng.integers(FIELDS_BYTES))
    data[position : position + rng.integers(1, 5)] = rng.choice([0x00, 0xFF, 0x7F, 0x80])
    return data


def set_lying_length(rng: Generator, data: Bytes, _other: bytes) -> Bytes:
    """Write a wrong length where the container has one. In Ogg the page's checksum is made right again."""
    content = data.tobytes()
    fields = [(content.find(mark) + offset, form) for mark, offset, form in LENGTH_FIELDS if mark in content]
    position, form = fields[rng.integers(max(1, len(fields) - 1))]
    position, size = max(0, position), struct.calcsize(form)
    length = int(rng.choice(LYING_LENGTHS)) if rng.random() < 0.7 else int(rng.integers(1 << 32))
    data[position : position + size] = np.frombuffer(struct.pack(form, length), np.uint8)[: len(data) - position]
    if content.startswith(b"OggS"):
        begin = content.rfind(b"OggS", 0, position)
        page = OggPage(BytesIO(data[begin:].tobytes()))
        data[begin : begin + page.size] = np.frombuffer(page.write(), np.uint8)
    return data


def add_picture(rng: Generator, data: Bytes, _other: bytes) -> bytes:
    """Put an ID3 tag with a picture in front."""
    picture = b"\0image/jpeg\0\3\0\xff\xd8" + rng.bytes(draw_count(rng, MAX_PICTURE_BYTES))
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    return id3v2_header(len(frame)) + frame + data.tobytes()


def id3v2_header(size: int) -> bytes:
    """The header of an ID3 tag of so many bytes. Its size is written with 7 bits in each byte."""
    return b"ID3\3\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def add_lying_tag(rng: Generator, data: Bytes, _other: bytes) -> bytes:
    """Put an ID3 tag in front that claims another size than it has, or is random behind its mark."""
    lies = rng.random() < 0.5
    header = id3v2_header(draw_count(rng, MAX_LYING_TAG_BYTES)) if lies else b"ID3" + rng.bytes(7)
    return header + rng.bytes(draw_count(rng, MAX_TAG_BYTES)) + data.tobytes()


def add_tags_behind(rng: Generator, data: Bytes, _other: bytes) -> bytes:
    """Put an APE tag of version 2 behind, whose size may be wrong, and an ID3 tag of version 1 behind that."""
    item = struct.pack("<II", TAG_VALUE_BYTES, 0) + b"Title\0" + rng.bytes(TAG_VALUE_BYTES)
    size = len(item) + 32 if rng.random() < 0.5 else int(rng.choice(LYING_LENGTHS))
    header, footer = (
        b"APETAGEX" + struct.pack("<IIIIQ", 2000, size, 1, flags, 0) for flags in (0xA0000000, 0x80000000)
    )
    return data.tobytes() + header + item + footer + b"TAG" + rng.bytes(125)


WRONG_SUFFIX = "wrong suffix"  # The one mutation that changes the file's name alone.
MUTATIONS: dict[str, Mutation] = {
    "flips": lambda rng, data, _: flip_bits(rng, data, 0),
    "flips in header": lambda rng, data, _: flip_bits(rng, data, 0, EDGE_BYTES),
    "flips at end": lambda rng, data, _: flip_bits(rng, data, -EDGE_BYTES),
    "zeros": lambda rng, data, _: overwrite(rng, data, lambda _: 0),
    "noise": lambda rng, data, _: overwrite(rng, data, lambda n: rng.integers(256, size=n, dtype=np.uint8)),
    "truncated": lambda rng, data, _: data[: rng.integers(len(data))],
    "stub": lambda rng, data, _: data[: rng.integers(MAX_STUB_BYTES)],
    "duplicated": duplicate,
    "removed": remove,
    "swapped": swap,
    "joined": lambda rng, data, other: data.tobytes() + other,
    WRONG_SUFFIX: lambda rng, data, _: data,
    "picture": add_picture,
    "lying tag": add_lying_tag,
    "tags behind": add_tags_behind,
    "lying length": set_lying_length,
    "extreme fields": set_extreme_fields,
    "random bytes": lambda rng, data, _: rng.bytes(draw_count(rng, MAX_RANDOM_BYTES)),
    "text": lambda rng, data, _: TEXTS[rng.integers(len(TEXTS))] * draw_count(rng, MAX_TEXT_REPEATS),
    "empty": lambda rng, data, _: b"",
}
