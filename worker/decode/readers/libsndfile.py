"""Reads WAV, FLAC, AIFF and MP3 through libsndfile, exact to the frame."""

import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import soundfile as sf

from worker.decode.downmix import INT16_SCALE, mix, replace_non_finite
from worker.decode.readers.base import (
    BLOCK_BYTES,
    MAX_FRAMES,
    PRE_ROLL_S,
    ReaderError,
    fill_mono,
    require_all,
    require_end,
    to_reader_error,
)

MIN_BLOCK_FRAMES = 1024  # Frames read at a time, even where many channels make that more than BLOCK_BYTES.
MAX_NATIVE_CHANNELS = 2  # A device mixes mono and stereo down itself; more channels are mixed here.


class _SequentialSoundFile(sf.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A SoundFile that does not seek after every read: that costs time, and in MP3 the next 60 ms come out wrong."""

    def seekable(self) -> bool:
        """Say no, so that soundfile leaves the position where the read ended."""
        return False


class LibsndfileReader:
    """A file through libsndfile. It satisfies worker.decode.readers.base.Reader.

    `codec` is what libsndfile calls the subtype. `fd` stays the caller's. Raises ReaderError when libsndfile does not
    know the format.
    """

    name = "soundfile"

    def __init__(self, fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            self._file = _SequentialSoundFile(fd, closefd=False)
        except (sf.SoundFileError, RuntimeError, TypeError, ValueError) as error:
            raise to_reader_error(error) from error
        self.rate: int = self._file.samplerate
        self.frames: int = self._file.frames
        if self.frames > MAX_FRAMES:
            self._file.close()
            raise ReaderError("its header lies about its length")
        self.codec: str = self._file.subtype
        self._dtype = "int16" if self.codec == "PCM_16" else "float32"
        # libsndfile decodes too few frames of MPEG audio before the target of a seek to have all that the target needs.
        self._pre_roll = round(PRE_ROLL_S * self.rate) if self.codec.startswith("MPEG") else 0
        self._is_native = self.codec.startswith("PCM_") and self._file.channels <= MAX_NATIVE_CHANNELS
        self.channels: int = self._file.channels if self._is_native else 1

    def blocks(self, start: int, stop: int | None) -> Iterator[npt.NDArray[np.float32]]:
        """See Reader."""
        return (replace_non_finite(mix(block)) for block in self._decode(start, stop))

    def read_into(self, out: npt.NDArray[np.int16], start: int) -> int:
        """See Reader."""
        expected = min(len(out), self.frames - start)
        if not self._is_native:
            return fill_mono(out[:expected], (block * INT16_SCALE for block in self.blocks(start, start + expected)))
        try:
            self._file.seek(start)
            done = len(self._file.read(out=out[:expected]))
        except (sf.SoundFileError, RuntimeError) as error:
            raise to_reader_error(error) from error
        return require_all(done, expected)

    def close(self) -> None:
        """End libsndfile's use of the file."""
        self._file.close()

    def _decode(self, start: int, stop: int | None) -> Iterator[npt.NDArray[np.int16] | npt.NDArray[np.float32]]:
        """Blocks (n, channels) from frame `start` to `stop`, or to the end. Raises ReaderError."""
        block_frames = max(MIN_BLOCK_FRAMES, BLOCK_BYTES // (4 * self._file.channels))
        position, end = max(0, start - self._pre_roll), self.frames if stop is None else min(stop, self.frames)
        try:
            self._file.seek(position)
            while position < end:
                block = self._file.read(min(block_frames, end - position), self._dtype, always_2d=True)
                if not len(block):
                    break
                yield block[max(0, start - position) :]
                position += len(block)
        except (sf.SoundFileError, RuntimeError) as error:
            raise to_reader_error(error) from error
        require_end(position, end, self.frames, self.rate)
