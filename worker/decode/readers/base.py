"""What all readers of audio files have in common: their interface, their error, and limits."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from worker.decode.downmix import round_and_clip

BLOCK_BYTES = 1 << 17  # About how many bytes of decoded samples a reader holds at a time.
MAX_MISSING_S = 0.1  # A file that ends this many seconds before the length in its header is damaged.
MAX_FRAMES = 1 << 48  # A larger length is not a length: libsndfile gives one when it does not know it.
PRE_ROLL_S = 0.5  # Seconds decoded and thrown away after a seek. MP3, and AAC with SBR, are wrong without them.


class ReaderError(Exception):
    """A reader cannot open a file, or cannot go on reading it. The message is in the library's own words."""


class Reader(Protocol):
    """An open audio file, which is read through one library from any frame on, at the rate that the reader chose.

    A frame is one sample of every channel.
    """

    name: str  # The library's name, for messages.
    codec: str  # What the audio is coded in, by the library's own name.
    rate: int  # Frames per second.
    frames: int  # Length in frames, by the file's header or an index.
    channels: int  # Channels that read_into() gives. blocks() always gives mono.

    def blocks(self, start: int, stop: int | None) -> Iterator[npt.NDArray[np.float32]]:
        """Blocks of mono samples (n,) in [-1, 1] from frame `start` to `stop`, or to the end when that is None.

        Raises ReaderError where the file cannot be read. The blocks before that are good.
        """

    def read_into(self, out: npt.NDArray[np.int16], start: int) -> int:
        """Read frames from `start` on into `out` (frames, channels): as many as fit, or as the file has.

        Returns how many these are. Raises ReaderError when fewer can be read.
        """

    def close(self) -> None:
        """Close what the reader opened. More than one call does no harm."""


def fill_mono(out: npt.NDArray[np.int16], blocks: Iterator[npt.NDArray[np.float32]]) -> int:
    """Write mono blocks, which are in the range of int16, one after another into `out` (frames, 1).

    The blocks are overwritten. Returns len(out). Raises ReaderError when the blocks have fewer samples than that.
    """
    done = 0
    with np.errstate(invalid="ignore"):  # Casting NaN to int16 warns, and gives 0.
        for block in blocks:
            part = round_and_clip(block[: len(out) - done])
            out[done : done + len(part), 0] = part
            done += len(part)
    return require_all(done, len(out))


def require_all(frames: int, expected: int) -> int:
    """Return `frames`. Raises ReaderError when these are fewer than expected."""
    if frames < expected:
        raise ReaderError(f"{expected - frames} of {expected} frames are missing")
    return frames


def require_end(position: int, end: int, length: int, rate: int) -> None:
    """Raise ReaderError when reading stopped at frame `position`, more than MAX_MISSING_S before frame `end`.

    length: frames of the whole file, and rate: frames per second, both for the message.
    """
    if end - position > MAX_MISSING_S * rate:
        raise ReaderError(f"it ends at {position / rate:.1f} s of {length / rate:.1f} s")


def to_reader_error(error: Exception) -> ReaderError:
    """A library's exception as a ReaderError in the library's words.

    Raises MemoryError instead when the library ran out of memory: that is not the fault of the file's coding.
    """
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    if isinstance(error, MemoryError) or "malloc" in text:
        raise MemoryError(text) from error
    return ReaderError(text.strip().rstrip("."))
