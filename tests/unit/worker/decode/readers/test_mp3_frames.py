"""Headers of MP3 frames, and the index of a file whose first frame says that its bit rate is constant."""

import os

import numpy as np
import pytest

from tests.unit.worker.decode.readers.mp3_bits import (
    DUAL,
    JOINT,
    LAYER_1,
    LAYER_2,
    MONO,
    MPEG_1,
    MPEG_2,
    MPEG_25,
    RESERVED_VERSION,
    SIZE_128,
    STEREO,
    header,
    opened,
)
from worker.decode.readers.mp3_frames import (
    FRONT_BYTES,
    MAX_INDEXED_FRAMES,
    FrameHeader,
    Mp3Index,
    index_constant_bit_rate,
    parse_header,
    read_front,
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, FrameHeader(1.0, 128_000, 44_100, 0, 2)),
        ({"padding": 1, "mode": MONO}, FrameHeader(1.0, 128_000, 44_100, 1, 1)),
        ({"bit_rate": 0b0001, "rate": 1, "mode": JOINT}, FrameHeader(1.0, 32_000, 48_000, 0, 2)),
        ({"bit_rate": 0b1110, "rate": 2, "mode": DUAL}, FrameHeader(1.0, 320_000, 32_000, 0, 2)),
        ({"version": MPEG_2, "bit_rate": 0b0001}, FrameHeader(2.0, 8_000, 22_050, 0, 2)),
        ({"version": MPEG_2, "bit_rate": 0b1110, "rate": 1}, FrameHeader(2.0, 160_000, 24_000, 0, 2)),
        ({"version": MPEG_2, "rate": 2}, FrameHeader(2.0, 80_000, 16_000, 0, 2)),
        ({"version": MPEG_25, "bit_rate": 0b1000}, FrameHeader(2.5, 64_000, 11_025, 0, 2)),
        ({"version": MPEG_25, "bit_rate": 0b1101, "rate": 1}, FrameHeader(2.5, 144_000, 12_000, 0, 2)),
        ({"version": MPEG_25, "bit_rate": 0b0111, "rate": 2, "no_checksum": 0}, FrameHeader(2.5, 56_000, 8_000, 0, 2)),
        ({"bit_rate": 0b0000}, FrameHeader(1.0, 0, 44_100, 0, 2)),
        ({"bit_rate": 0b1111}, FrameHeader(1.0, 0, 44_100, 0, 2)),
    ],
)
def test_a_header_says_what_its_bits_say(fields, expected):
    assert parse_header(header(**fields)) == expected
    assert parse_header(b"\xff\xff\xff" + header(**fields) + b"more", 3) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"version": RESERVED_VERSION},
        {"layer": LAYER_1},
        {"layer": LAYER_2},
        {"layer": 0},
        {"rate": 0b11},
        *({"sync": 0x7FF ^ 1 << bit} for bit in range(11)),
    ],
)
def test_what_is_no_header_of_layer_3_is_none(fields):
    assert parse_header(header(**fields)) is None


def test_a_header_that_is_not_all_there_is_none():
    assert parse_header(header()[:3]) is None
    assert parse_header(bytes(4) + header()[:3], 4) is None
    assert parse_header(bytes(3) + header(), 3) is not None
    assert parse_header(header(), -4) is None
    assert parse_header(b"") is None


# Lengths from LAME's and other tables of MP3 frame sizes, which leave the padding out.
@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, 417),
        ({"padding": 1}, 418),
        ({"bit_rate": 0b1110}, 1044),
        ({"bit_rate": 0b1110, "rate": 1}, 960),
        ({"bit_rate": 0b1110, "rate": 1, "padding": 1}, 961),
        ({"bit_rate": 0b0001}, 104),
        ({"bit_rate": 0b0001, "rate": 2}, 144),
        ({"version": MPEG_2, "bit_rate": 0b1000}, 208),
        ({"version": MPEG_25, "bit_rate": 0b0001, "rate": 2}, 72),
        ({"bit_rate": 0, "padding": 1}, 0),
        ({"bit_rate": 15, "padding": 1}, 0),
    ],
)
def test_a_header_says_how_long_its_frame_is(fields, size):
    assert parse_header(header(**fields)).frame_bytes == size


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (MPEG_1, [*range(32, 64, 8), *range(64, 128, 16), *range(128, 256, 32), 256, 320]),
        (MPEG_2, [*range(8, 64, 8), *range(64, 161, 16)]),
        (MPEG_25, [*range(8, 64, 8), *range(64, 161, 16)]),
    ],
)
def test_bit_rates_grow_in_the_steps_of_the_standard(version, expected):
    """In kbit/s. The first value of the field and the last one say no bit rate."""
    bit_rates = [parse_header(header(version=version, bit_rate=value)).bit_rate for value in range(16)]
    assert bit_rates == [0, *(1_000 * kbit_s for kbit_s in expected), 0]


def test_frames_have_as_many_samples_as_their_version_says():
    assert [parse_header(header(version=v)).samples for v in (MPEG_1, MPEG_2, MPEG_25)] == [1152, 576, 576]


@pytest.mark.parametrize(
    ("version", "mode", "offset"),
    [
        (MPEG_1, STEREO, 36),
        (MPEG_1, MONO, 21),
        (MPEG_2, JOINT, 21),
        (MPEG_2, MONO, 13),
        (MPEG_25, DUAL, 21),
        (MPEG_25, MONO, 13),
    ],
)
def test_an_info_tag_is_behind_the_side_information(version, mode, offset):
    """The offsets are those of LAME's VbrTag.c."""
    assert parse_header(header(version=version, mode=mode)).info_tag_bytes == offset


@pytest.mark.parametrize(
    ("kbit_s", "rate", "preframes"),
    [(320, 44_100, 3), (192, 44_100, 3), (128, 44_100, 4), (64, 44_100, 5), (32, 48_000, 11), (8, 24_000, 20)],
)
def test_as_many_frames_are_decoded_before_another_as_may_have_its_beginning(kbit_s, rate, preframes):
    assert Mp3Index(np.zeros(1), 144_000 * kbit_s / rate).preframes == preframes


@pytest.mark.parametrize(
    ("size", "preframes"), [(38 + 511, 3), (38 + 510, 4), (38 + 256, 4), (38 + 255, 5), (38, 20), (1, 20)]
)
def test_the_bit_reservoir_is_spread_over_what_frames_have_room_for(size, preframes):
    """A frame of 38 bytes has no room for data at all, but for a byte that is assumed."""
    assert Mp3Index(np.zeros(1), size).preframes == preframes


@pytest.mark.parametrize(("length", "size"), [(b"\0\0\0\0", 0), (b"\0\0\1\0", 128), (b"\1\2\3\4", 2_130_308)])
def test_the_front_is_behind_an_id3_tag(tmp_path, length, size):
    fd = opened(tmp_path, b"ID3\4\0\0" + length + bytes(size) + b"audio")
    assert read_front(fd) == (b"audio", 10 + size)
    os.close(fd)


@pytest.mark.parametrize("data", [b"audio", b"ID3\4\0\0\0\0\0", b"ID", b"", b"IDX\4\0\0\0\0\0\1 and more"])
def test_without_a_whole_id3_tag_the_front_is_the_files(tmp_path, data):
    fd = opened(tmp_path, data)
    assert read_front(fd) == (data, 0)
    os.close(fd)


def test_no_more_than_the_front_is_read(tmp_path):
    fd = opened(tmp_path, bytes(5_000))
    assert len(read_front(fd)[0]) == FRONT_BYTES
    os.close(fd)


def info_frame(frames, length, *, flags=3, tag=b"Info", rest=400, **fields):
    """A first frame with LAME's tag: how many frames follow, and how many bytes they and this one have."""
    first = header(**fields)
    offset = parse_header(first).info_tag_bytes
    numbers = b"".join(number.to_bytes(4, "big") for number in (flags, frames, length))
    return first + bytes(offset - 4) + tag + numbers + bytes(rest)


def test_a_constant_bit_rate_is_an_index():
    index = index_constant_bit_rate(info_frame(100, 41_796), 1000)
    begin = 1000 + SIZE_128
    expected = [begin] + [begin - 2 + int(number * 144 * 128_000 / 44_100) for number in range(16, 100, 16)]
    assert index.starts.tolist() == expected
    assert index.smallest_frame_bytes == 144 * 128_000 / 44_100
    assert index.samples == 0


@pytest.mark.parametrize(
    "fields", [{"mode": MONO}, {"version": MPEG_2}, {"version": MPEG_2, "mode": MONO}, {"padding": 1}]
)
def test_a_tag_is_found_in_every_kind_of_first_frame(fields):
    head = parse_header(header(**fields))
    index = index_constant_bit_rate(info_frame(100, round(100 * head.average_bytes), **fields), 0)
    assert index.starts[0] == head.frame_bytes


def test_bytes_in_front_of_the_first_frame_are_left_out():
    assert index_constant_bit_rate(b"junk" + info_frame(100, 41_796), 0).starts[0] == 4 + SIZE_128


@pytest.mark.parametrize(
    "front",
    [
        info_frame(100, 41_796, flags=1),  # The number of bytes is not said,
        info_frame(100, 41_796, flags=2),  # or the number of frames.
        info_frame(0, 0),
        info_frame(100, 41_796, tag=b"Xing"),
        info_frame(100, 41_796, bit_rate=0),
        info_frame(100, 41_796, rest=0)[:-1],  # The tag is not all there.
        b"\0" + info_frame(100, 41_796)[1:],  # There is no header before the tag.
        info_frame(100, 41_796)[:3] + b"\xc0" + info_frame(100, 41_796)[4:],  # A mono frame's tag would be elsewhere.
        b"Info",
        b"",
    ],
)
def test_a_tag_that_does_not_say_enough_is_no_index(front):
    assert index_constant_bit_rate(front, 0) is None


def test_flags_for_more_than_is_needed_do_no_harm():
    assert index_constant_bit_rate(info_frame(100, 41_796, flags=15), 0) is not None
    assert index_constant_bit_rate(info_frame(100, 41_796, rest=0), 0) is not None


def test_numbers_that_differ_by_more_than_two_frames_do_not_agree():
    """A frame of 192 bytes: 144 * 64,000 / 48,000, exactly."""
    for difference, agree in ((0, True), (384, True), (385, False), (-384, True), (-385, False)):
        front = info_frame(1_000, 192_000 + difference, bit_rate=0b0101, rate=1)
        assert (index_constant_bit_rate(front, 0) is not None) is agree


def test_more_frames_than_a_file_has_are_not_indexed():
    for frames, indexed in ((MAX_INDEXED_FRAMES - 1, True), (MAX_INDEXED_FRAMES, False)):
        front = info_frame(frames, 192 * frames, bit_rate=0b0101, rate=1)
        assert (index_constant_bit_rate(front, 0) is not None) is indexed
