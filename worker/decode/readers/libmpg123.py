"""Reads MP3 through libmpg123 itself, where the system has it: in two thirds of libsndfile's time, and faster still at
half the sample rate. It mixes down to mono before its synthesis filter, and half a rate needs half of that filter."""

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_long, c_size_t, c_void_p
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.decode.downmix import INT16_SCALE, replace_non_finite
from worker.decode.readers.base import MAX_FRAMES, ReaderError, require_all, require_end
from worker.decode.readers.mp3_frames import (
    INDEX_STEP,
    INFO_TAGS,
    MAX_PREFRAMES,
    index_constant_bit_rate,
    parse_header,
    read_front,
    walk,
)

LIBRARY = "libmpg123.so.0"

# Numbers of mpg123.h: parameters, flags, results, and the encodings of samples.
FLAGS, DOWN_SAMPLE, PREFRAMES = 1, 4, 16
MONO_MIX, QUIET, GAPLESS, FORCE_FLOAT, SKIP_ID3V2 = 0x4, 0x20, 0x40, 0x400, 0x2000
OK, DONE = 0, -12
ENCODINGS = {np.dtype(np.int16): 0xD0, np.dtype(np.float32): 0x200}

# The functions of mpg123.h that are used: name, type of the result, types of the arguments.
FUNCTIONS: tuple[tuple[Any, ...], ...] = (
    ("new", c_void_p, c_char_p, POINTER(c_int)),
    ("delete", None, c_void_p),
    ("param", c_int, c_void_p, c_int, c_long, c_double),
    ("open", c_int, c_void_p, c_char_p),
    ("getformat", c_int, c_void_p, POINTER(c_long), POINTER(c_int), POINTER(c_int)),
    ("scan", c_int, c_void_p),
    ("set_index_64", c_int, c_void_p, c_void_p, c_int64, c_size_t),
    ("length_64", c_int64, c_void_p),
    ("seek_64", c_int64, c_void_p, c_int64, c_int),
    ("read", c_int, c_void_p, c_void_p, c_size_t, POINTER(c_size_t)),
    ("strerror", c_char_p, c_void_p),
)

BLOCK_FRAMES = 1 << 16  # Frames that are decoded at a time.
FLAT_SHARE = 0.9  # Half the rate keeps this share of its band, from 0 Hz on. Above, it loses up to 26 dB.


@cache
def library() -> ctypes.CDLL | None:
    """Load libmpg123. None where the system has none, or one that is too old."""
    try:
        loaded = ctypes.CDLL(LIBRARY)
        for name, result, *arguments in FUNCTIONS:
            function = getattr(loaded, f"mpg123_{name}")
            function.restype, function.argtypes = result, arguments
        loaded.mpg123_init()
    except (OSError, AttributeError):
        return None
    return loaded


class Mpg123Reader:
    """An MP3 through libmpg123, mixed down to mono. It satisfies worker.decode.readers.base.Reader.

    path, fd: the same file twice, since opening a file takes long on slow storage. `fd` stays the caller's.
    max_frequency_hz: what is above does not matter. The reader chooses half the file's rate where that keeps the rest.
    native: decode to int16, for read_into(). Otherwise to float32, for blocks() that will be resampled.
    Raises ReaderError when the file is no MPEG audio, or when the system has no libmpg123.
    """

    name = "mpg123"
    codec = "MPEG"
    channels = 1

    def __init__(self, path: bytes, fd: int, max_frequency_hz: float, native: bool = False) -> None:
        self._dtype = np.dtype(np.int16 if native else np.float32)
        loaded = library()
        if loaded is None:
            raise ReaderError(f"there is no {LIBRARY}")
        self._library = loaded
        self._handle: int | None = loaded.mpg123_new(None, None)
        self._last_result = OK  # What the last mpg123_read() returned.
        try:
            front, position = read_front(fd)
            header = parse_header(front)
            self._choose_rate(path, max_frequency_hz, header.sample_rate if header else 0)
            self.frames = self._count_frames(fd, front, position)
        except OSError as error:
            self.close()
            raise ReaderError(str(error)) from error
        except BaseException:
            self.close()
            raise

    def _choose_rate(self, path: bytes, max_frequency_hz: float, header_rate: int) -> None:
        """Open the file at its own rate or at half of it. header_rate: its own by the first frame; 0: not known."""
        full_rate = header_rate or self._open(path, 0)
        self._halvings = int(max_frequency_hz <= FLAT_SHARE * full_rate / 4)
        self.rate = self._open(path, self._halvings)
        if self.rate << self._halvings != full_rate:  # What looked like its first frame was none.
            self._halvings, self.rate = 0, self._open(path, 0)

    def _open(self, path: bytes, halvings: int) -> int:
        """Open the file at its own rate (0) or at half of it (1). Returns the resulting frames per second."""
        flags = MONO_MIX | QUIET | GAPLESS | SKIP_ID3V2 | (FORCE_FLOAT if self._dtype == np.float32 else 0)
        for name, value in ((FLAGS, flags), (PREFRAMES, MAX_PREFRAMES), (DOWN_SAMPLE, halvings)):
            self._check(self._library.mpg123_param(self._handle, name, value, 0.0))
        self._check(self._library.mpg123_open(self._handle, path))
        rate, channels, encoding = c_long(), c_int(), c_int()
        self._check(self._library.mpg123_getformat(self._handle, byref(rate), byref(channels), byref(encoding)))
        if rate.value < 1 or encoding.value != ENCODINGS[self._dtype]:
            raise ReaderError(self._reason())
        return rate.value

    def _count_frames(self, fd: int, front: bytes, position: int) -> int:
        """The length in frames. Gives libmpg123 an index too, which spares it a walk through the file for each seek.

        front, position: what read_front() returned.
        """
        index = index_constant_bit_rate(front, position) or walk(fd, position)
        if index:
            starts = index.starts
            self._check(self._library.mpg123_set_index_64(self._handle, starts.ctypes.data, INDEX_STEP, len(starts)))
            self._check(self._library.mpg123_param(self._handle, PREFRAMES, index.preframes, 0.0))
        if not any(tag in front for tag in (*INFO_TAGS, b"VBRI")):  # Nothing in the file says how long it is.
            if index:
                return index.samples >> self._halvings
            self._check(self._library.mpg123_scan(self._handle))
        frames = self._length()
        if frames < 0:  # The length that the first frame says makes no sense.
            self._check(self._library.mpg123_scan(self._handle))
            frames = self._length()
        if not 0 <= frames <= MAX_FRAMES:
            raise ReaderError("its header lies about its length")
        return frames

    def _length(self) -> int:
        return int(self._library.mpg123_length_64(self._handle))

    def blocks(self, start: int, stop: int | None) -> Iterator[npt.NDArray[np.float32]]:
        """See Reader."""
        for block in self._decode(start, stop):
            yield replace_non_finite(block) if block.dtype == np.float32 else block * np.float32(1 / INT16_SCALE)

    def read_into(self, out: npt.NDArray[np.int16], start: int) -> int:
        """See Reader. Only for readers that were opened as native."""
        expected, done = min(len(out), self.frames - start), 0
        self._seek(start)
        while done < expected and (count := self._decode_into(out[done:expected, 0])):
            done += count
        return require_all(done, expected)

    def close(self) -> None:
        """Close the file."""
        handle, self._handle = self._handle, None
        if handle:
            self._library.mpg123_delete(handle)

    def _decode(self, start: int, stop: int | None) -> Iterator[npt.NDArray[Any]]:
        """Mono blocks (n,), int16 or float32, from frame `start` to `stop`, or to the end. Raises ReaderError."""
        position, end = start, self.frames if stop is None else min(stop, self.frames)
        if position < end:
            self._seek(position)
        while position < end:
            block = np.empty(min(BLOCK_FRAMES, end - position), self._dtype)
            count = self._decode_into(block)
            if not count:
                break
            yield block[:count]
            position += count
        require_end(position, end, self.frames, self.rate)

    def _seek(self, start: int) -> None:
        if self._library.mpg123_seek_64(self._handle, start, 0) != start:
            raise ReaderError(f"cannot seek to {start / self.rate:.1f} s: {self._reason()}")
        self._last_result = OK

    def _decode_into(self, out: npt.NDArray[Any]) -> int:
        """Decode the next frames into `out` (frames,), which is contiguous. Returns how many; 0 at the end.

        libmpg123 may give frames and an error at once. The frames are returned, and the next call raises ReaderError.
        """
        self._check(self._last_result)
        done = c_size_t()
        result = self._library.mpg123_read(self._handle, out.ctypes.data, out.nbytes, byref(done))
        self._last_result = OK if result == DONE else result
        if not done.value:
            self._check(self._last_result)
        return done.value // out.itemsize

    def _check(self, result: int) -> None:
        if result != OK:
            raise ReaderError(self._reason())

    def _reason(self) -> str:
        """What libmpg123 says about its last error, without the number and the place in its source."""
        said = self._library.mpg123_strerror(self._handle)
        return (said or b"it is not MPEG audio").decode("ascii", "replace").partition("(code")[0].strip(" .")
