"""One open audio file: the readers that can read it, in turn, and its samples at any rate."""

import math
import os
import stat
from collections.abc import Iterator

import numpy as np
import soxr

from worker.decode.native import steps
from worker.decode.readers import libmpg123
from worker.decode.readers.base import ReaderError
from worker.decode.readers.ffmpeg import FfmpegReader
from worker.decode.readers.libsndfile import LibsndfileReader
from worker.errors import MissingFileError, NoAudioError, SilentError, TrackError, UndecodableError, UnreadableFileError
from worker.windowing import CONTEXT_S

FRONT_BYTES = 64  # of a file: they have the name of an Ogg's codec
Reader = LibsndfileReader | FfmpegReader | libmpg123.Mpg123Reader


def display_name(path: bytes) -> str:
    """A file's name for messages: bytes that are not UTF-8 appear as \\xNN."""
    return os.path.basename(path).decode("utf-8", "backslashreplace")  # noqa: PTH119 (pathlib takes no bytes)


class AudioFile:
    """One open file, its readers in the order in which they are tried, and what they said when they gave up.

    hears_hz and native: see Cut. Raises as read_windows does.
    """

    def __init__(self, path: bytes, max_frequency_hz: float, native: bool = False):
        self._path, self._name, self._max_frequency_hz, self._native = (
            path,
            display_name(path),
            max_frequency_hz,
            native,
        )
        self._heard = 0
        self._kinds: tuple[type, ...] = LibsndfileReader, FfmpegReader
        self._reasons: dict[str, str] = {}
        self._open: list = []
        self._fd = _open_regular(path, self._name)
        try:
            if not os.fstat(self._fd).st_size:
                raise NoAudioError(f"{self._name}: the file has no bytes; copy it again or remove it")
            self._open_best()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "AudioFile":
        return self

    def __exit__(self, *_) -> None:
        for reader in self._open:
            reader.close()
        os.close(self._fd)

    def _open_best(self) -> None:
        """Open the reader that suits the file."""
        if _is_vorbis_or_opus(self._fd):
            self._kinds = FfmpegReader, LibsndfileReader
        best = next(self._readers(), None)
        if best is None:
            raise self.nothing()
        faster = _faster(best.subtype) if isinstance(best, LibsndfileReader) else None
        if faster and self._opened(faster):
            self._open.reverse()

    @property
    def reader(self) -> Reader:
        """The reader that suits the file."""
        return self._open[0]

    def length(self, rate: int) -> int:
        """Samples at `rate`, as the file's header says."""
        return math.ceil(self.reader.frames * rate / self.reader.rate)

    def samples(self, rate: int, start: int, count: int | None = None) -> Iterator[np.ndarray]:
        """Mono float32 chunks at `rate`, from sample `start` on; a reader that breaks hands over to the next one."""
        stop = None if count is None else start + count
        for reader in self._readers():
            try:
                for chunk in _resampled(reader, rate, start, stop):
                    start += len(chunk)
                    self._heard += len(chunk)
                    yield chunk
                if self._heard:
                    return
            except ReaderError as error:
                self._reasons[reader.name] = str(error)

    def nothing(self) -> TrackError:
        """Why no window came of this file, as the error to raise."""
        if self._heard:
            return SilentError(f"{self._name}: nothing in it is louder than -60 dBFS; leave it out or replace it")
        if not self._reasons:
            return NoAudioError(f"{self._name}: the file has a header but no audio; copy it again or remove it")
        said = "; ".join(f"{reader}: {reason}" for reader, reason in self._reasons.items())
        return UndecodableError(f"{self._name}: no decoder can read it ({said}); replace the file or leave it out")

    def _readers(self) -> Iterator:
        """The readers that open this file, each opened when it is first asked for."""
        yield from list(self._open)
        for kind in self._kinds:
            if kind.name not in self._reasons and all(reader.name != kind.name for reader in self._open):
                yield from self._opened(kind)

    def _opened(self, kind: type) -> list:
        try:
            reader = self._open_with(kind)
        except ReaderError as error:
            self._reasons[kind.name] = str(error)
            return []
        self._open.append(reader)
        return [reader]

    def _open_with(self, kind: type) -> Reader:
        if kind is LibsndfileReader:
            return LibsndfileReader(self._fd)
        if kind is libmpg123.Mpg123Reader:
            return libmpg123.Mpg123Reader(self._path, self._fd, self._max_frequency_hz, self._native)
        return FfmpegReader(self._path)


def _is_vorbis_or_opus(fd: int) -> bool:
    """Whether the file begins as Ogg with one of the two: then soundfile, which is slower, need not look at it."""
    try:
        front = os.pread(fd, FRONT_BYTES, 0)
    except OSError:  # the readers will say so
        return False
    return front.startswith(b"OggS") and (b"\x01vorbis" in front or b"OpusHead" in front)


def _faster(subtype: str) -> type | None:
    """Who reads what is coded so in less time than soundfile."""
    if subtype in ("VORBIS", "OPUS"):
        return FfmpegReader
    return libmpg123.Mpg123Reader if subtype.startswith("MPEG") and libmpg123.library() else None


def _open_regular(path: bytes, name: str) -> int:
    """A descriptor of a regular file, without waiting for a pipe's other end; raises MissingFileError or UnreadableFileError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(f"{name}: the file is gone; scan the library again") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableFileError(f"{name}: the system does not open it ({reason}); check its permissions") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UnreadableFileError(f"{name}: not a regular file; leave it out")
    return fd


def _resampled(reader: Reader, rate: int, start: int, stop: int | None):
    """The reader's samples `start` to `stop` at `rate`, the same as if all of the track had been resampled at once.

    That needs context around them, and a first frame that lies on a sample of both rates.
    """
    step_in, step_out = steps(reader.rate, rate)
    begin = max(0, start - math.ceil(CONTEXT_S * rate)) // step_out
    last = None if stop is None else math.ceil((stop / rate + CONTEXT_S) * reader.rate)
    at = begin * step_out
    for chunk in _through_soxr(reader.blocks(begin * step_in, last), reader.rate, rate):
        part = chunk[max(0, start - at) : None if stop is None else max(0, stop - at)]
        at += len(chunk)
        if len(part):
            yield part


def _through_soxr(blocks: Iterator[np.ndarray], rate_in: int, rate_out: int) -> Iterator[np.ndarray]:
    if rate_in == rate_out:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)
