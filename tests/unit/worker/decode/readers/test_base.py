"""What readers share: filling int16 buffers, checks, and libraries' errors."""

import numpy as np
import pytest

from worker.decode.readers.base import ReaderError, fill_mono, require_all, require_end, to_reader_error


def blocks(*parts):
    return (np.array(part, np.float32) for part in parts)


def test_blocks_fill_a_buffer_one_behind_the_other():
    out = np.zeros((5, 1), np.int16)
    assert fill_mono(out, blocks([1.4, 2.6], [-40_000, 40_000], [np.nan])) == 5
    assert out[:, 0].tolist() == [1, 3, -32_768, 32_767, 0]


def test_what_does_not_fit_a_buffer_is_left_out():
    out = np.zeros((3, 1), np.int16)
    assert fill_mono(out, blocks([1, 2], [3, 4], [5])) == 3
    assert out[:, 0].tolist() == [1, 2, 3]


def test_too_few_samples_are_an_error_that_says_how_many():
    with pytest.raises(ReaderError, match="1 of 3 frames are missing"):
        fill_mono(np.zeros((3, 1), np.int16), blocks([1, 2]))
    with pytest.raises(ReaderError, match="2 of 9"):
        require_all(7, 9)
    assert require_all(9, 9) == 9


def test_an_end_that_is_early_by_more_than_a_tenth_of_a_second_is_an_error():
    require_end(position=900, end=1_000, length=2_000, rate=1_000)
    require_end(position=1_100, end=1_000, length=2_000, rate=1_000)
    with pytest.raises(ReaderError, match=r"it ends at 0\.9 s of 2\.0 s"):
        require_end(position=899, end=1_000, length=2_000, rate=1_000)


class LibraryError(Exception):
    error_string = "Bad things. "


def test_a_librarys_error_keeps_its_words():
    assert str(to_reader_error(LibraryError())) == "Bad things"
    assert str(to_reader_error(OSError(2, "Gone."))) == "Gone"
    assert str(to_reader_error(ValueError("no good"))) == "no good"


@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("Internal malloc() failed.")])
def test_a_lack_of_memory_is_not_the_files_fault(error):
    with pytest.raises(MemoryError):
        to_reader_error(error)
