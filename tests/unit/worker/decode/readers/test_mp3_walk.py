"""The walk over all frames of an MP3: it indexes every frame, or nothing."""

import os

import numpy as np
import pytest

from tests.unit.worker.decode.readers.mp3_bits import LAYER_2, MPEG_2, frame, header, opened
from worker.decode.readers.mp3_frames import CHUNK_BYTES, FRONT_BYTES, INDEX_STEP, walk


def walked(tmp_path, data, position=0):
    fd = opened(tmp_path, data)
    try:
        return walk(fd, position)
    finally:
        os.close(fd)


SIZES = {0b1001: 417, 0b1010: 522, 0b1011: 626, 0b0001: 104}  # Of MPEG-1 at 44.1 kHz, by the bit rate's four bits.


def variable(count, first=0b1001):
    """Frames of several bit rates, and the first byte of each."""
    bit_rates = [first, *(list(SIZES)[number * 7 % 4] for number in range(1, count))]
    starts = np.cumsum([0, *(SIZES[bit_rate] for bit_rate in bit_rates)])[:-1]
    return b"".join(frame(SIZES[bit_rate], bit_rate=bit_rate) for bit_rate in bit_rates), starts


def test_a_walk_finds_every_frame(tmp_path):
    data, starts = variable(50)
    index = walked(tmp_path, b"abc" + data, 3)
    assert index.starts.tolist() == (3 + starts[::INDEX_STEP]).tolist()
    assert index.samples == 50 * 1152
    assert index.smallest_frame_bytes == 104


@pytest.mark.parametrize("tag", [b"Xing", b"Info"])
def test_a_first_frame_without_audio_is_not_indexed(tmp_path, tag):
    data, starts = variable(40)
    data = data[:36] + tag + data[40:]
    index = walked(tmp_path, data)
    assert index.starts.tolist() == starts[1::INDEX_STEP].tolist()
    assert index.samples == 39 * 1152


def test_frames_of_mpeg_2_have_half_the_samples(tmp_path):
    data = frame(208, version=MPEG_2, bit_rate=0b1000) * 20
    assert walked(tmp_path, data).samples == 20 * 576


@pytest.mark.parametrize("before", range(8))
def test_a_frame_may_lie_across_two_chunks(tmp_path, before):
    """A frame begins so many bytes before the second chunk, so that its header may be in both."""
    target = CHUNK_BYTES - before
    sizes = next(
        [417] * plain + [418] * padded
        for padded in range(417)
        if (target - 418 * padded) % 417 == 0 and (plain := (target - 418 * padded) // 417) >= 0
    )
    data = b"".join(frame(size, padding=size - 417) for size in [*sizes, 417, 418, 417])
    index = walked(tmp_path, data)
    assert index.samples == 1152 * (len(sizes) + 3)
    assert index.starts.tolist() == np.cumsum([0, *sizes, 417, 418])[::INDEX_STEP].tolist()


@pytest.mark.parametrize("end", [b"", b"TAG" + bytes(125), b"APETAGEX" + bytes(24), b"TAG"])
def test_only_tags_may_follow_the_last_frame(tmp_path, end):
    data, _ = variable(20)
    assert walked(tmp_path, data + end).samples == 20 * 1152


@pytest.mark.parametrize(
    "gap",
    [
        b"\0",
        b"\0\0\0\0\0",
        b"tag" + bytes(125),
        header(rate=1),
        header(version=MPEG_2),
        header(layer=LAYER_2),
        header(bit_rate=0),
        header(bit_rate=15),
        header()[:1] + bytes(30),
        header()[:2] + b"\0\0",
    ],
)
def test_anything_else_between_frames_or_behind_them_is_no_index(tmp_path, gap):
    data, starts = variable(20)
    assert walked(tmp_path, data + gap) is None
    assert walked(tmp_path, data[: starts[10]] + gap + data[starts[10] :]) is None


def test_a_checksum_may_come_and_go(tmp_path):
    data = (frame(no_checksum=0) + frame(no_checksum=1)) * 10
    assert walked(tmp_path, data).samples == 20 * 1152
    assert walked(tmp_path, frame() + data).samples == 21 * 1152


def test_a_truncated_last_frame_is_no_index(tmp_path):
    data, _ = variable(20)
    assert walked(tmp_path, data[:-1]) is None
    assert walked(tmp_path, data + b"\xff") is None


def test_what_libmpg123_may_number_in_another_way_is_no_index(tmp_path):
    data, _ = variable(20)
    assert walked(tmp_path, data[:36] + b"VBRI" + data[40:]) is None
    assert walked(tmp_path, bytes(1) + data) is None


def test_a_file_shorter_than_a_front_is_not_walked(tmp_path):
    data = frame(192, bit_rate=0b0101, rate=1) * 10
    longer = data + frame(192, bit_rate=0b0101, rate=1)
    assert len(data) < FRONT_BYTES < len(longer)
    assert walked(tmp_path, data) is None
    assert walked(tmp_path, longer).samples == 11 * 1152


def test_two_frames_are_needed_for_an_index(tmp_path):
    data = frame(1044, bit_rate=0b1110) * 2  # 320 kbit/s: two frames are longer than a front.
    assert len(data) > FRONT_BYTES
    assert walked(tmp_path, data).samples == 2 * 1152
    assert walked(tmp_path, data[:36] + b"Info" + data[40:]) is None
