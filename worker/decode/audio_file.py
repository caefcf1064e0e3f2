"""One open audio file: opens the readers that can read it, one after another, and gives its samples at any rate."""

import math
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType

import numpy as np
import numpy.typing as npt

from worker.decode.readers import libmpg123
from worker.decode.readers.base import Reader, ReaderError
from worker.decode.readers.ffmpeg import FfmpegReader
from worker.decode.readers.libmpg123 import Mpg123Reader
from worker.decode.readers.libsndfile import LibsndfileReader
from worker.decode.resampling import resample
from worker.errors import MissingFileError, NoAudioError, SilentError, TrackError, UndecodableError, UnreadableFileError

FRONT_BYTES = 64  # The name of an Ogg file's codec is among this many bytes.

# What libsndfile reads, but another reader in less time: libsndfile's name of the codec -> the other reader's name.
FASTER_READERS = {
    "VORBIS": FfmpegReader.name,
    "OPUS": FfmpegReader.name,
    "MPEG_LAYER_I": Mpg123Reader.name,
    "MPEG_LAYER_II": Mpg123Reader.name,
    "MPEG_LAYER_III": Mpg123Reader.name,
}


def display_name(path: bytes) -> str:
    """A file's name for messages. Bytes that are not UTF-8 appear as \\xNN."""
    return os.path.basename(path).decode("utf-8", "backslashreplace")  # noqa: PTH119 (pathlib takes no bytes)


class AudioFile:
    """One open file, as a context manager.

    It is read by the reader that suits it. When that one breaks, the next one goes on. What each said is kept for the
    message of failure().

    max_frequency_hz, native: see worker.windowing.Windowing. use_mpg123: whether MP3 is read through libmpg123 where
    the system has it. Raises MissingFileError, UnreadableFileError, NoAudioError or UndecodableError.
    """

    def __init__(self, path: bytes, max_frequency_hz: float, native: bool = False, use_mpg123: bool = True) -> None:
        self._name, self._use_mpg123 = display_name(path), use_mpg123
        self._decoded_samples = 0  # How many samples() gave so far.
        self._reasons: dict[str, str] = {}  # Why readers gave up, by their names.
        self._opened: list[Reader] = []  # In the order in which they are tried.
        self._fd = _open_regular_file(path, self._name)
        self._openers: dict[str, Callable[[], Reader]] = {
            LibsndfileReader.name: partial(LibsndfileReader, self._fd),
            FfmpegReader.name: partial(FfmpegReader, path),
            Mpg123Reader.name: partial(Mpg123Reader, path, self._fd, max_frequency_hz, native),
        }
        try:
            if not os.fstat(self._fd).st_size:
                raise NoAudioError(f"{self._name}: the file has no bytes; copy it again or remove it")
            self._names = _readers_for(self._fd)
            self._open_best_reader()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "AudioFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and its readers."""
        for reader in self._opened:
            reader.close()
        os.close(self._fd)

    @property
    def reader(self) -> Reader:
        """The reader that suits the file."""
        return self._opened[0]

    def length(self, rate: int) -> int:
        """The length in samples at `rate` Hz, as the file's header says."""
        return math.ceil(self.reader.frames * rate / self.reader.rate)

    def samples(self, rate: int, start: int, count: int | None = None) -> Iterator[npt.NDArray[np.float32]]:
        """Mono chunks (n,) at `rate` Hz, from sample `start` on: `count` samples, or all until the end.

        When a reader breaks, the next one goes on where it stopped.
        """
        stop = None if count is None else start + count
        for reader in self._readers():
            try:
                for chunk in resample(reader, rate, start, stop):
                    start += len(chunk)
                    self._decoded_samples += len(chunk)
                    yield chunk
                if self._decoded_samples:
                    return
            except ReaderError as error:
                self._reasons[reader.name] = str(error)

    def failure(self) -> TrackError:
        """The error to raise when no window came of this file: it says why."""
        if self._decoded_samples:
            return SilentError(f"{self._name}: nothing in it is louder than -60 dBFS; leave it out or replace it")
        if not self._reasons:
            return NoAudioError(f"{self._name}: the file has a header but no audio; copy it again or remove it")
        reasons = "; ".join(f"{reader}: {reason}" for reader, reason in self._reasons.items())
        return UndecodableError(f"{self._name}: no decoder can read it ({reasons}); replace the file or leave it out")

    def _open_best_reader(self) -> None:
        """Open the reader that suits the file; raises failure() when no reader opens it."""
        best = next(self._readers(), None)
        if best is None:
            raise self.failure()
        faster = FASTER_READERS.get(best.codec)
        if faster == Mpg123Reader.name and not (self._use_mpg123 and libmpg123.library()):
            return
        if faster and self._open(faster):
            self._opened.reverse()

    def _readers(self) -> Iterator[Reader]:
        """The readers that open this file, in the order in which they are tried. Each is opened when it is needed."""
        yield from list(self._opened)
        for name in self._names:
            if name not in self._reasons and all(reader.name != name for reader in self._opened):
                yield from self._open(name)

    def _open(self, name: str) -> list[Reader]:
        """Open the reader of this name. Returns it in a list, which is empty when it does not open the file."""
        try:
            reader = self._openers[name]()
        except ReaderError as error:
            self._reasons[name] = str(error)
            return []
        self._opened.append(reader)
        return [reader]


def _readers_for(fd: int) -> tuple[str, str]:
    """The names of the readers to try, in order.

    libsndfile comes first, since it is exact to the frame. FFmpeg comes first for Vorbis and Opus in Ogg: it is faster
    there, so that libsndfile need not open the file at all.
    """
    try:
        front = os.pread(fd, FRONT_BYTES, 0)
    except OSError:  # The readers will run into it too, and report it.
        front = b""
    if front.startswith(b"OggS") and (b"\x01vorbis" in front or b"OpusHead" in front):
        return FfmpegReader.name, LibsndfileReader.name
    return LibsndfileReader.name, FfmpegReader.name


def _open_regular_file(path: bytes, name: str) -> int:
    """Open a regular file. Returns its descriptor; raises MissingFileError or UnreadableFileError.

    O_NONBLOCK: a named pipe would otherwise wait for somebody who writes to it.
    """
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
