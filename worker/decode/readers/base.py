"""What every reader of audio files has in common."""

from collections.abc import Iterator

import numpy as np

from worker.decode.downmix import rounded

BLOCK_BYTES = 1 << 17  # what a reader holds decoded at a time
MISSING_S = 0.1  # an end that comes earlier than the header says by more than this is damage
MOST_FRAMES = 1 << 48  # libsndfile's word for a length that it does not know is more


class ReaderError(Exception):
    """A reader cannot open the file, or cannot go on; the message is the library's own."""


def filled(out: np.ndarray, blocks: Iterator[np.ndarray]) -> int:
    """Mono blocks in int16's range, which are overwritten, into int16 (frames, 1). Returns len(out). Raises ReaderError
    where they are fewer."""
    found = 0
    with np.errstate(invalid="ignore"):
        for block in blocks:
            part = rounded(block[: len(out) - found])
            out[found : found + len(part), 0] = part
            found += len(part)
    return complete(found, len(out))


def complete(found: int, wanted: int) -> int:
    """The frames found. Raises ReaderError when these are not all."""
    if found < wanted:
        raise ReaderError(f"{wanted - found} of {wanted} frames are missing")
    return found


def reader_error(error: Exception) -> ReaderError:
    """The library's words as ReaderError; MemoryError where it ran out of memory."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    if isinstance(error, MemoryError) or "malloc" in text:
        raise MemoryError(text) from error
    return ReaderError(text.strip().rstrip("."))
