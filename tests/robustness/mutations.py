"""Broken audio files without end: each is made of whole ones and two numbers, and can be made again from them."""

import struct
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mutagen.ogg import OggPage
from numpy.random import Generator

EDGE_BYTES = 4096  # the header, and the end
FIELDS_BYTES = 200  # where sample rate, channels and frames stand
PICTURE_BYTES = 24 << 20
TEXTS = (
    b"<!DOCTYPE html><title>404 Not Found</title><p>The track has moved.\n",
    b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:other.wav\n",
    b"ffconcat version 1.0\nfile 'other.wav'\n",
    "Ein Stück, das keines ist. ".encode(),
)
LENGTHS = (  # a mark, where from there a length stands, and how it is written
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
    (bytes.fromhex("3026b2758e66cf11"), 16, "<Q"),  # ASF: its header, its file's properties, its stream's
    (bytes.fromhex("a1dcab8c47a9cf11"), 16, "<Q"),
    (bytes.fromhex("9107dcb7b7a9cf11"), 16, "<Q"),
    (b"Xing", 8, ">I"),
    (b"Info", 8, ">I"),
    (b"\xff", 3, ">I"),  # what is left: MPEG and ADTS, in whose frames' headers lengths are a few bits
)
LIES = (0, 1, 0x7FFF, 0xFFFF, 0xFFFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)

Mutation = Callable[[Generator, np.ndarray, bytes], bytes | np.ndarray]  # uint8 (n,), and another file


class Broken(NamedTuple):
    """A file that is not written yet."""

    number: int
    mutation: str
    name: str
    data: bytes | np.ndarray


def make(whole: Sequence[Path], seed: int, number: int) -> Broken:
    """The broken file of this number: mutations take turns, and within each of them the whole files of two or more
    codecs. Equal arguments give equal files."""
    rng, mutations = np.random.default_rng((seed, number)), list(MUTATIONS)
    mutation = mutations[number % len(mutations)]
    path = whole[number // len(mutations) % len(whole)]
    others = [other for other in whole if other.suffix != path.suffix]
    other = others[rng.integers(len(others))]
    data = MUTATIONS[mutation](rng, np.frombuffer(bytearray(path.read_bytes()), np.uint8), other.read_bytes())
    suffix = other.suffix if mutation == WRONG_SUFFIX else path.suffix
    return Broken(number, mutation, f"{number} {mutation} {path.stem}{suffix}", data)


def _flipped(rng: Generator, data: np.ndarray, begin: int, end: int | None = None) -> np.ndarray:
    """1 to 1000 bits of a part flipped."""
    part = data[begin:end]
    count = _many(rng, 1000)
    part[rng.integers(len(part), size=count)] ^= np.left_shift(1, rng.integers(8, size=count)).astype(np.uint8)
    return data


def _many(rng: Generator, most: int) -> int:
    """1 to `most`, each power of ten as likely as the others."""
    return int(most ** rng.random())


def _stretch(rng: Generator, data: np.ndarray) -> slice:
    begin = int(rng.integers(len(data)))
    return slice(begin, begin + _many(rng, len(data)))


def _overwritten(rng: Generator, data: np.ndarray, value: Callable[[int], object]) -> np.ndarray:
    where = _stretch(rng, data)
    data[where] = value(len(data[where]))
    return data


def _inserted(rng: Generator, data: np.ndarray, _: bytes) -> np.ndarray:
    at = int(rng.integers(len(data)))
    return np.concatenate([data[:at], data[_stretch(rng, data)], data[at:]])


def _removed(rng: Generator, data: np.ndarray, _: bytes) -> np.ndarray:
    where = _stretch(rng, data)
    return np.concatenate([data[: where.start], data[where.stop :]])


def _swapped(rng: Generator, data: np.ndarray, _: bytes) -> np.ndarray:
    """Two stretches that lie one behind the other, the other way round."""
    first, middle, last = sorted(rng.integers(len(data), size=3))
    return np.concatenate([data[:first], data[middle:last], data[first:middle], data[last:]])


def _extreme_fields(rng: Generator, data: np.ndarray, _: bytes) -> np.ndarray:
    at = int(rng.integers(FIELDS_BYTES))
    data[at : at + rng.integers(1, 5)] = rng.choice([0x00, 0xFF, 0x7F, 0x80])
    return data


def _lying_length(rng: Generator, data: np.ndarray, _: bytes) -> np.ndarray:
    """A length of the container's own that is wrong; in Ogg with the page's checksum right."""
    content = data.tobytes()
    found = [(content.find(mark) + offset, form) for mark, offset, form in LENGTHS if mark in content]
    at, form = found[rng.integers(max(1, len(found) - 1))]
    at, size = max(0, at), struct.calcsize(form)
    lie = int(rng.choice(LIES)) if rng.random() < 0.7 else int(rng.integers(1 << 32))
    data[at : at + size] = np.frombuffer(struct.pack(form, lie), np.uint8)[: len(data) - at]
    if content.startswith(b"OggS"):
        begin = content.rfind(b"OggS", 0, at)
        page = OggPage(BytesIO(data[begin:].tobytes()))
        data[begin : begin + page.size] = np.frombuffer(page.write(), np.uint8)
    return data


def _with_picture(rng: Generator, data: np.ndarray, _: bytes) -> bytes:
    picture = b"\0image/jpeg\0\3\0\xff\xd8" + rng.bytes(_many(rng, PICTURE_BYTES))
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    return _id3v2(len(frame)) + frame + data.tobytes()


def _id3v2(size: int) -> bytes:
    """The header of a tag of so many bytes, 7 of each byte's bits being used."""
    return b"ID3\3\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def _with_lying_tag(rng: Generator, data: np.ndarray, _: bytes) -> bytes:
    header = _id3v2(_many(rng, 1 << 28)) if rng.random() < 0.5 else b"ID3" + rng.bytes(7)
    return header + rng.bytes(_many(rng, 1 << 16)) + data.tobytes()


def _tagged_behind(rng: Generator, data: np.ndarray, _: bytes) -> bytes:
    """APEv2, whose size may be a lie, then ID3v1."""
    item = struct.pack("<II", 1 << 12, 0) + b"Title\0" + rng.bytes(1 << 12)
    size = len(item) + 32 if rng.random() < 0.5 else int(rng.choice(LIES))
    ends = [b"APETAGEX" + struct.pack("<IIIIQ", 2000, size, 1, flags, 0) for flags in (0xA0000000, 0x80000000)]
    return data.tobytes() + ends[0] + item + ends[1] + b"TAG" + rng.bytes(125)


WRONG_SUFFIX = "wrong suffix"
MUTATIONS: dict[str, Mutation] = {
    "flips": lambda rng, data, _: _flipped(rng, data, 0),
    "flips in header": lambda rng, data, _: _flipped(rng, data, 0, EDGE_BYTES),
    "flips at end": lambda rng, data, _: _flipped(rng, data, -EDGE_BYTES),
    "zeros": lambda rng, data, _: _overwritten(rng, data, lambda _: 0),
    "noise": lambda rng, data, _: _overwritten(rng, data, lambda n: rng.integers(256, size=n, dtype=np.uint8)),
    "truncated": lambda rng, data, _: data[: rng.integers(len(data))],
    "stub": lambda rng, data, _: data[: rng.integers(64)],
    "duplicated": _inserted,
    "removed": _removed,
    "swapped": _swapped,
    "joined": lambda rng, data, other: data.tobytes() + other,
    WRONG_SUFFIX: lambda rng, data, _: data,
    "picture": _with_picture,
    "lying tag": _with_lying_tag,
    "tags behind": _tagged_behind,
    "lying length": _lying_length,
    "extreme fields": _extreme_fields,
    "random bytes": lambda rng, data, _: rng.bytes(_many(rng, 1 << 20)),
    "text": lambda rng, data, _: TEXTS[rng.integers(len(TEXTS))] * _many(rng, 1000),
    "empty": lambda rng, data, _: b"",
}
