"""Messages between a decode process and its parent: all that is packed comes out again."""

import mmap
import os

import numpy as np
import pytest

from worker.decode.protocol import (
    MESSAGE_BYTES,
    Message,
    SharedBlock,
    pack_message,
    pack_request,
    pack_windows,
    unpack_message,
    unpack_request,
    unpack_windows,
)
from worker.decode.windows import Windows
from worker.windowing import FrameCut, NativeLayout, Windowing


@pytest.mark.parametrize("kind", list(Message))
def test_a_message_comes_out_as_it_went_in(kind):
    assert unpack_message(pack_message(kind)) == (kind, 0, b"")
    assert unpack_message(pack_message(kind, 0xFFFF_FFFF, b"\0 and more")) == (kind, 0xFFFF_FFFF, b"\0 and more")


def test_kinds_of_messages_differ():
    assert len({pack_message(kind) for kind in Message}) == 8


@pytest.mark.parametrize("message", [b"", b"\1\0\0\0", b"\0\0\0\0\0", b"\xff\0\0\0\0"])
def test_what_is_no_message_is_refused(message):
    with pytest.raises(ValueError, match=r"are no message|is not a valid Message"):
        unpack_message(message)


@pytest.mark.parametrize(
    "windowing",
    [
        Windowing(16_000, 47_872),
        Windowing(22_050, 275_968, "regions", 512, native=True),
        Windowing(22_050, 275_968, "full", 512, band_hz=11_000),
        Windowing(16_000, 0xFFFF_FFFF, "full", band_hz=7),
    ],
)
@pytest.mark.parametrize("path", [b"/a/\xff b", b"", b"/" + b"x" * 4095])
def test_a_request_says_all_of_what_is_wanted(path, windowing):
    content = pack_request(path, windowing)
    assert unpack_request(content) == (path, windowing)
    assert len(pack_message(Message.READ_FILE, 1, content)) <= MESSAGE_BYTES


@pytest.mark.parametrize("cut", [None, FrameCut(490), FrameCut(491, edge=True)])
def test_windows_lie_at_the_front_of_their_slot(cut):
    slot = np.arange(100, dtype=np.int16)
    content = pack_windows(Windows(slot[:60].reshape(3, 20), cut))
    found = unpack_windows(slot, 3, 20, content)
    assert np.array_equal(found.pcm, np.arange(60).reshape(3, 20))
    assert np.shares_memory(found.pcm, slot)
    assert (found.cut, found.native) == (cut, None)


def test_native_regions_come_with_their_layout():
    slot = np.arange(200, dtype=np.int16)
    layout = NativeLayout(rate=44_100, offsets=(7, 0, 300_000), windows=2, stride=47_872)
    content = pack_windows(Windows(slot[:120].reshape(3, 20, 2), FrameCut(5), layout))
    found = unpack_windows(slot, 6, 20, content)
    assert np.array_equal(found.pcm, np.arange(120).reshape(3, 20, 2))
    assert np.shares_memory(found.pcm, slot)
    assert (found.cut, found.native) == (FrameCut(5), layout)


def test_a_process_gets_its_numbers_by_its_command_line():
    share = SharedBlock(control_fd=3, block_fd=4, slots=5, slot_bytes=6, memory_mib=7)
    assert share.to_arguments() == ["3", "4", "5", "6", "7"]
    assert SharedBlock.from_arguments(share.to_arguments()) == share


@pytest.mark.parametrize(
    "arguments", [[], ["1", "2", "3", "4"], ["1", "2", "3", "4", "5", "6"], ["1", "2", "3", "4", "x"]]
)
def test_other_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=r"5 numbers are needed|invalid literal"):
        SharedBlock.from_arguments(arguments)


def test_slots_are_rows_of_the_shared_memory():
    fd = os.memfd_create("test")
    os.ftruncate(fd, 3 * mmap.PAGESIZE)
    pcm = SharedBlock(-1, fd, 3, mmap.PAGESIZE, 0).map()
    assert pcm.shape == (3, mmap.PAGESIZE // 2)
    assert pcm.dtype == np.int16
    pcm[1, 0] = 258
    assert os.pread(fd, 2, mmap.PAGESIZE) == b"\2\1"
    os.close(fd)


@pytest.mark.parametrize(("slot_bytes", "count"), [(199, 0), (200, 1), (399, 1), (400, 2), (1_000, 5)])
def test_a_slot_has_room_for_whole_windows_of_int16(slot_bytes, count):
    assert SharedBlock(-1, -1, 1, slot_bytes, 0).windows_per_slot(Windowing(16_000, 100)) == count
