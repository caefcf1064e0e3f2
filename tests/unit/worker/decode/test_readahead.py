"""What is asked of the system ahead of the decode children."""

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

MIB = 1 << 20


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


def resident(path):
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
    if any(resident(path)):
        pytest.skip("this file system keeps its files in memory")
    wanted = {page for start, length in spans(32 * MIB, "regions") for page in range(start >> 12, start + length >> 12)}
    came: set[int] = set()  # the system may take pages back at any time
    deadline = time.monotonic() + 20
    with closing(ReadAhead(2)) as ahead:
        ahead.ask(b"/nowhere", "regions")
        ahead.ask(os.fsencode(path), "regions")
        while not wanted <= came:
            assert time.monotonic() < deadline, f"{len(wanted & came)} of {len(wanted)} pages"
            came.update(page for page, is_here in enumerate(resident(path)) if is_here)
            time.sleep(0.01)
    assert len(came) < 0.6 * (32 * MIB >> 12)
