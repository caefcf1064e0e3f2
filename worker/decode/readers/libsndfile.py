"""WAV, FLAC, AIFF and MP3 through libsndfile, exact to the frame."""

import os
from collections.abc import Iterator

import numpy as np
import soundfile as sf

from worker.decode.downmix import FULL_SCALE, bounded, mixed
from worker.decode.readers.base import BLOCK_BYTES, MISSING_S, MOST_FRAMES, ReaderError, complete, filled, reader_error
from worker.decode.readers.ffmpeg import PRE_ROLL_S


class _Sequential(sf.SoundFile):
    """soundfile seeks after every read, which costs time, and in MP3 the content of the next 60 ms: not this one."""

    def seekable(self) -> bool:
        return False


class LibsndfileReader:
    """A file through libsndfile. `fd` stays the caller's; raises ReaderError when libsndfile does not know the format."""

    name = "soundfile"

    def __init__(self, fd: int):
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            self._file = _Sequential(fd, closefd=False)
        except (sf.SoundFileError, RuntimeError, TypeError, ValueError) as error:
            raise reader_error(error) from error
        self.rate: int = self._file.samplerate
        self.frames: int = self._file.frames
        if self.frames > MOST_FRAMES:
            self._file.close()
            raise ReaderError("its header lies about its length")
        self.subtype: str = self._file.subtype
        self._dtype = "int16" if self.subtype == "PCM_16" else "float32"
        # libsndfile decodes too few frames of MPEG audio before a seek's target to fill the bit reservoir
        self._pre_roll = round(PRE_ROLL_S * self.rate) if self.subtype.startswith("MPEG") else 0
        self._is_pcm = self.subtype.startswith("PCM_") and self._file.channels <= 2
        self.channels: int = self._file.channels if self._is_pcm else 1

    def decoded(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        """Blocks (n, channels) of frames `start` to `stop`, or to the end; ReaderError where the file cannot be read."""
        most = max(1024, BLOCK_BYTES // (4 * self._file.channels))
        at, end = max(0, start - self._pre_roll), self.frames if stop is None else min(stop, self.frames)
        try:
            self._file.seek(at)
            while at < end:
                block = self._file.read(min(most, end - at), self._dtype, always_2d=True)
                if not len(block):
                    break
                yield block[max(0, start - at) :]
                at += len(block)
        except (sf.SoundFileError, RuntimeError) as error:
            raise reader_error(error) from error
        if end - at > MISSING_S * self.rate:
            raise ReaderError(f"it ends at {at / self.rate:.1f} s of {self.frames / self.rate:.1f} s")

    def blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        """The same, mixed: mono blocks (n,)."""
        return (bounded(mixed(block)) for block in self.decoded(start, stop))

    def read_into(self, out: np.ndarray, start: int) -> int:
        """The frames from `start` on into int16 (frames, lanes), as many as fit or there are: returns how many. Raises
        ReaderError where some are missing."""
        wanted = min(len(out), self.frames - start)
        if not self._is_pcm:
            return filled(out[:wanted], (block * FULL_SCALE for block in self.blocks(start, start + wanted)))
        try:
            self._file.seek(start)
            found = len(self._file.read(out=out[:wanted]))
        except (sf.SoundFileError, RuntimeError) as error:
            raise reader_error(error) from error
        return complete(found, wanted)

    def close(self) -> None:
        """End libsndfile's use of the file."""
        self._file.close()
