"""The index of ADTS: every frame's first byte, or no index at all."""

import os

import av
import pytest

from tests.unit.worker.decode.helpers import NOISE
from worker.decode.readers.adts import CHUNK_BYTES, AdtsIndex, index_adts

ID3V2, ID3V1, APE_TAG = b"ID3\x04\0\0\0\0\x10\0" + bytes(2048), b"TAG" + bytes(125), b"APETAGEX" + bytes(24)


def frame(
    size=100, *, rate_index=4, channels=2, profile=1, layer=0, blocks=0, no_checksum=1, sync=0xFFF, version=0, fill=0
):
    """A frame of ADTS as ISO/IEC 13818-7 lays its header out, its fields written one after another as bits."""
    bits = f"{sync:012b}{version:01b}{layer:02b}{no_checksum:01b}{profile:02b}{rate_index:04b}0{channels:03b}0000"
    bits += f"{size:013b}{0x7FF:011b}{blocks:02b}"
    return int(bits, 2).to_bytes(7, "big") + bytes([fill]) * (size - 7)


def indexed(tmp_path, data, position=0):
    path = tmp_path / "a.aac"
    path.write_bytes(data)
    return index_adts(os.fsencode(path), position)


@pytest.mark.parametrize(("front", "end"), [(b"", b""), (ID3V2, b""), (b"", ID3V1), (ID3V2, APE_TAG)])
def test_frames_of_an_encoder_are_where_ffmpeg_finds_its_packets(tracks, tmp_path, front, end):
    index = indexed(tmp_path, front + tracks("aac").read_bytes() + end, len(front))
    with av.open(str(tmp_path / "a.aac")) as file:
        packets = [packet.pos for packet in file.demux(audio=0) if packet.size]
    assert list(index.starts) == packets
    assert index.header_hz == 44_100


def test_frames_follow_one_another_by_their_lengths(tmp_path):
    index = indexed(tmp_path, b"junk" + frame(100) + frame(8) + frame(8191) + frame(50), 4)
    assert list(index.starts) == [4, 104, 112, 8303]


@pytest.mark.parametrize("before", range(12))
def test_a_frame_may_lie_across_two_chunks(tmp_path, before):
    """The second chunk begins somewhere in the frame behind the first ones, or in its header."""
    fill = CHUNK_BYTES - before
    frames = [frame(8000)] * (fill // 8000) + [frame(fill % 8000), frame(200), frame(300)]
    index = indexed(tmp_path, b"".join(frames))
    assert list(index.starts[-3:]) == [fill // 8000 * 8000, fill, fill + 200]


# After the standard's table: three rates, halved three times, and one more.
RATES_HZ = [*(rate // halving for halving in (1, 2, 4, 8) for rate in (96_000, 88_200, 64_000)), 7_350]


@pytest.mark.parametrize(("rate_index", "rate"), list(enumerate([*RATES_HZ, None, None, None])))
def test_the_rate_is_the_one_in_the_headers(tmp_path, rate_index, rate):
    index = indexed(tmp_path, frame(rate_index=rate_index) * 3)
    assert (index and index.header_hz) == rate


COMMON_BITS = {
    *range(15),
    *range(16, 22),
    *range(23, 26),
    54,
    55,
}  # Up to the layer, profile and rate, channels, blocks.
LENGTH_BITS = range(30, 43)


@pytest.mark.parametrize("bit", sorted(set(range(56)) - set(LENGTH_BITS)))
def test_frames_differ_only_in_what_may_change_within_a_file(tmp_path, bit):
    """Bits are counted from the first one of a header: sync word 0 to 11, version 12, and so on."""
    other = (int.from_bytes(frame()[:7]) ^ 1 << 55 - bit).to_bytes(7) + frame()[7:]
    index = indexed(tmp_path, frame() * 2 + other + frame())
    assert (index is None) is (bit in COMMON_BITS)


def test_a_checksum_may_come_and_go(tmp_path):
    assert len(indexed(tmp_path, frame() + frame(no_checksum=0) + frame()).starts) == 3


@pytest.mark.parametrize("change", [{"layer": 1}, {"layer": 2}, {"blocks": 1}, {"blocks": 3}, {"sync": 0xFFE}])
def test_frames_alike_that_are_not_adts_with_one_block_have_no_index(tmp_path, change):
    assert indexed(tmp_path, frame(**change) * 3) is None
    assert indexed(tmp_path, frame(version=1) * 3) is not None


def test_a_length_shorter_than_a_header_ends_the_index(tmp_path):
    assert indexed(tmp_path, frame() + frame(7) + bytes(20)) is None
    assert len(indexed(tmp_path, frame() + frame(8) + frame()).starts) == 3


@pytest.mark.parametrize("left", range(1, 8))
def test_less_than_a_header_at_the_end_is_left_out(tmp_path, left):
    assert list(indexed(tmp_path, frame() * 2 + frame()[:left]).starts) == [0, 100]


@pytest.mark.parametrize("size", [8, 9, 100])
def test_the_last_chunk_may_have_one_short_frame(tmp_path, size):
    data = frame(8_000) * 16 + frame(CHUNK_BYTES - 16 * 8_000)
    assert len(data) == CHUNK_BYTES
    assert indexed(tmp_path, data + frame(size)).starts[-1] == CHUNK_BYTES


@pytest.mark.parametrize("size", [8, 9, 100])
def test_something_else_than_a_frame_at_the_end_is_no_index(tmp_path, size):
    assert indexed(tmp_path, frame() * 2 + bytes(size)) is None


@pytest.mark.parametrize("data", [b"", b"\xff\xf1", NOISE, bytes(5000), b"\xff" * 5000, b"\xff\xf1\x50\x80\0\0\0" * 99])
def test_what_is_not_adts_has_no_index(tmp_path, data):
    assert indexed(tmp_path, data) is None
    assert index_adts(os.fsencode(tmp_path / "gone.aac"), 0) is None


def test_noise_between_frames_leaves_no_index(tracks, tmp_path):
    data = tracks("aac").read_bytes()
    starts = indexed(tmp_path, data).starts
    middle = starts[len(starts) // 2]
    assert indexed(tmp_path, data[:middle] + NOISE[:700] + data[middle:]) is None


@pytest.mark.parametrize(
    ("moment_s", "number"), [(-1.0, 0), (0.0, 0), (1023.9 / 8000, 0), (1024.1 / 8000, 1), (0.3, 2), (0.39, 3), (99, 3)]
)
def test_a_moment_has_a_frame(moment_s, number):
    assert AdtsIndex([0, 10, 20, 30], 8000).frame_at(moment_s) == number


def test_a_frame_begins_later_at_twice_the_rate():
    index = AdtsIndex([0, 10, 20, 30], 22_050)
    assert index.first_sample(3, 22_050) == 3 * 1024
    assert index.first_sample(3, 44_100) == 6 * 1024
