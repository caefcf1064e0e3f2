"""Reading ahead: what of a file the system is asked for, and that it comes into memory."""

import ctypes
import mmap
import os
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.decode.readahead import ReadAhead, spans
from worker.windowing import REGIONS

KIB, MIB = 1 << 10, 1 << 20


@given(st.integers(0, 1 << 40), st.sampled_from(["regions", "full"]))
def test_what_is_asked_for_lies_in_the_file_and_is_bounded(size, coverage):
    asked = spans(size, coverage)
    assert all(0 <= start <= size for start, _ in asked)
    assert sum(length for _, length in asked) <= 7 * MIB


@given(st.integers(1 * MIB, 30 * MIB))
def test_the_regions_of_a_track_of_some_minutes_are_among_it(size):
    for number in range(REGIONS):
        middle = (2 * number + 1) * size // (2 * REGIONS)
        assert any(start <= middle < start + length for start, length in spans(size, "regions"))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # The head of 256 KiB and the tail of 64 KiB. Regions are at least 256 KiB, around 1/6, 3/6 and 5/6.
        (0, [(0, 0), (0, 0), (0, 256 * KIB), (0, 256 * KIB), (0, 256 * KIB)]),
        (60 * KIB, [(0, 60 * KIB), (0, 60 * KIB), (0, 256 * KIB), (0, 256 * KIB), (0, 256 * KIB)]),
        (
            3 * MIB,
            [(0, 256 * KIB), (3 * MIB - 64 * KIB, 64 * KIB)]
            + [(centre * KIB - 128 * KIB, 256 * KIB) for centre in (512, 1_536, 2_560)],
        ),
        # 6% of 25 MiB are 1.5 MiB, of 60 MiB more than 2 MiB, which is the most.
        (
            25 * MIB,
            [(0, 256 * KIB), (25 * MIB - 64 * KIB, 64 * KIB)]
            + [(number * 25 * MIB // 6 - 768 * KIB, 1_536 * KIB) for number in (1, 3, 5)],
        ),
        (
            60 * MIB,
            [(0, 256 * KIB), (60 * MIB - 64 * KIB, 64 * KIB)]
            + [(centre * MIB - MIB, 2 * MIB) for centre in (10, 30, 50)],
        ),
    ],
)
def test_head_tail_and_regions_are_asked_for_in_the_order_in_which_they_are_read(size, expected):
    assert spans(size, "regions") == expected


@pytest.mark.parametrize(
    ("size", "length"), [(0, 0), (4 * MIB - 1, 4 * MIB - 1), (4 * MIB, 4 * MIB), (9 * MIB, 4 * MIB)]
)
def test_of_a_file_that_is_read_whole_the_beginning_is_asked_for(size, length):
    assert spans(size, "full") == [(0, length)]


def pages_in_memory(path):
    """Whether each page of the file is in memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        view = ctypes.c_char.from_buffer(mapped)
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(view)), ctypes.c_size_t(len(mapped)), pages)
        del view
    assert not failed
    return [bool(page & 1) for page in pages]


def test_what_is_asked_for_comes_into_memory(tmp_path):
    path = tmp_path / "track"
    path.write_bytes(os.urandom(32 * MIB))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if any(pages_in_memory(path)):
        pytest.skip("this file system keeps its files in memory")
    asked = {page for start, length in spans(32 * MIB, "regions") for page in range(start >> 12, start + length >> 12)}
    seen: set[int] = set()  # Pages that were in memory at some time. The system may take them back at any time.
    deadline = time.monotonic() + 20
    with closing(ReadAhead(2)) as ahead:
        ahead.ask(b"/nowhere", "regions")
        ahead.ask(os.fsencode(path), "regions")
        while not asked <= seen:
            assert time.monotonic() < deadline, f"{len(asked & seen)} of {len(asked)} pages"
            seen.update(page for page, is_here in enumerate(pages_in_memory(path)) if is_here)
            time.sleep(0.01)
    assert len(seen) < 0.6 * (32 * MIB >> 12)
