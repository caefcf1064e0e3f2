"""MP3 through libmpg123 itself, where the system has it: two thirds of soundfile's time, and at half the rate still
less. It mixes down before its synthesis filter, of which half a rate needs half."""

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_long, c_size_t, c_void_p
from functools import cache

import numpy as np

from worker.decode.downmix import FULL_SCALE, bounded
from worker.decode.readers.base import MISSING_S, MOST_FRAMES, ReaderError, complete
from worker.decode.readers.mp3_frames import (
    INDEX_STEP,
    INFO_TAGS,
    MOST_PREFRAMES,
    constant_frames,
    read_front,
    sample_rate,
    walk,
)

LIBRARY = "libmpg123.so.0"
# mpg123.h
FLAGS, DOWN_SAMPLE, PREFRAMES = 1, 4, 16
MONO_MIX, QUIET, GAPLESS, FORCE_FLOAT, SKIP_ID3V2 = 0x4, 0x20, 0x40, 0x400, 0x2000
OK, DONE = 0, -12
ENCODINGS = {np.dtype(np.int16): 0xD0, np.dtype(np.float32): 0x200}

BLOCK_FRAMES = 1 << 16
FLAT = 0.9  # of the band at half the rate, from 0 Hz on: what is above loses up to 26 dB


class Mpg123Reader:
    """A file through libmpg123, mono, decoded to int16 where that is what is wanted (`native`) and to float32 where it
    will be resampled; at half its rate where that has all up to hears_hz. Raises ReaderError when it is no MPEG audio, or
    when there is no libmpg123. `fd` is the same file, and stays the caller's: every opening takes long on slow storage.
    """

    name = "mpg123"
    channels = 1

    def __init__(self, path: bytes, fd: int, max_frequency_hz: float, native: bool = False):
        self._dtype = np.dtype(np.int16 if native else np.float32)
        self._library = library()
        if self._library is None:
            raise ReaderError(f"there is no {LIBRARY}")
        self._handle, self._said = self._library.mpg123_new(None, None), OK
        try:
            front, at = read_front(fd)
            full_rate = sample_rate(front) or self._open(path, 0)
            self._halvings = int(max_frequency_hz <= FLAT * full_rate / 4)
            self.rate = self._open(path, self._halvings)
            if self.rate << self._halvings != full_rate:  # what looked like its first frame was none
                self._halvings, self.rate = 0, self._open(path, 0)
            self.frames = self._count(fd, front, at)
        except OSError as error:
            self.close()
            raise ReaderError(str(error)) from error
        except BaseException:
            self.close()
            raise

    def _open(self, path: bytes, halvings: int) -> int:
        """Frames a second."""
        flags = MONO_MIX | QUIET | GAPLESS | SKIP_ID3V2 | (FORCE_FLOAT if self._dtype == np.float32 else 0)
        for name, value in ((FLAGS, flags), (PREFRAMES, MOST_PREFRAMES), (DOWN_SAMPLE, halvings)):
            self._check(self._library.mpg123_param(self._handle, name, value, 0.0))
        self._check(self._library.mpg123_open(self._handle, path))
        rate, channels, encoding = c_long(), c_int(), c_int()
        self._check(self._library.mpg123_getformat(self._handle, byref(rate), byref(channels), byref(encoding)))
        if rate.value < 1 or encoding.value != ENCODINGS[self._dtype]:
            raise ReaderError(self._reason())
        return rate.value

    def _count(self, fd: int, front: bytes, at: int) -> int:
        """Frames; what spares libmpg123 a walk through the file is told it."""
        found = constant_frames(front, at) or walk(fd, at)
        if found:
            starts = found.starts
            self._check(self._library.mpg123_set_index_64(self._handle, starts.ctypes.data, INDEX_STEP, len(starts)))
            self._check(self._library.mpg123_param(self._handle, PREFRAMES, found.preframes, 0.0))
        if not any(word in front for word in (*INFO_TAGS, b"VBRI")):  # nothing says how long it is
            if found:
                return found.samples >> self._halvings
            self._check(self._library.mpg123_scan(self._handle))
        frames = self._library.mpg123_length_64(self._handle)
        if frames < 0:  # what its first frame says makes no sense
            self._check(self._library.mpg123_scan(self._handle))
            frames = self._library.mpg123_length_64(self._handle)
        if not 0 <= frames <= MOST_FRAMES:
            raise ReaderError("its header lies about its length")
        return frames

    def decoded(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        """Mono blocks (n,) of frames `start` to `stop`, or to the end; ReaderError where the file cannot be read."""
        at, end = start, self.frames if stop is None else min(stop, self.frames)
        if at < end:
            self._seek(at)
        while at < end:
            block = np.empty(min(BLOCK_FRAMES, end - at), self._dtype)
            count = self._decode(block)
            if not count:
                break
            yield block[:count]
            at += count
        if end - at > MISSING_S * self.rate:
            raise ReaderError(f"it ends at {at / self.rate:.1f} s of {self.frames / self.rate:.1f} s")

    def blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        """The same in float32."""
        for block in self.decoded(start, stop):
            yield bounded(block) if block.dtype == np.float32 else block * np.float32(1 / FULL_SCALE)

    def read_into(self, out: np.ndarray, start: int) -> int:
        """See readers.SoundfileReader; of a native reader only."""
        wanted, found = min(len(out), self.frames - start), 0
        self._seek(start)
        while found < wanted and (count := self._decode(out[found:wanted, 0])):
            found += count
        return complete(found, wanted)

    def _seek(self, start: int) -> None:
        if self._library.mpg123_seek_64(self._handle, start, 0) != start:
            raise ReaderError(f"cannot seek to {start / self.rate:.1f} s: {self._reason()}")
        self._said = OK

    def _decode(self, out: np.ndarray) -> int:
        """The next frames into (frames,), contiguous. Returns how many; 0 at the end. Raises ReaderError where the call
        before gave the last ones that can be read."""
        self._check(self._said)
        done = c_size_t()
        result = self._library.mpg123_read(self._handle, out.ctypes.data, out.nbytes, byref(done))
        self._said = OK if result == DONE else result
        if not done.value:
            self._check(self._said)
        return done.value // out.itemsize

    def _check(self, result: int) -> None:
        if result != OK:
            raise ReaderError(self._reason())

    def _reason(self) -> str:
        said = self._library.mpg123_strerror(self._handle)
        return (said or b"it is not MPEG audio").decode("ascii", "replace").partition("(code")[0].strip(" .")

    def close(self) -> None:
        """Close the file."""
        handle, self._handle = self._handle, None
        if handle:
            self._library.mpg123_delete(handle)


FUNCTIONS = (
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


@cache
def library() -> ctypes.CDLL | None:
    """libmpg123, or None where the system has none, or one that is too old."""
    try:
        found = ctypes.CDLL(LIBRARY)
        for name, result, *arguments in FUNCTIONS:
            function = getattr(found, f"mpg123_{name}")
            function.restype, function.argtypes = result, arguments
        found.mpg123_init()
    except (OSError, AttributeError):
        return None
    return found
