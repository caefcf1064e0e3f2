"""Resamples parts of a file on the CPU, so that each is what resampling the whole file would have given there."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import soxr

from worker.decode.readers.base import Reader
from worker.windowing import CONTEXT_S


def period(rate_in: int, rate_out: int) -> tuple[int, int]:
    """The smallest numbers of samples at two rates that last equally long: 441 and 160 at 44.1 and 16 kHz.

    Samples of both rates coincide once in such a period, and the resampling filter repeats with it.
    """
    common = math.gcd(rate_in, rate_out)
    return rate_in // common, rate_out // common


def resample(reader: Reader, rate: int, start: int, stop: int | None) -> Iterator[npt.NDArray[np.float32]]:
    """The reader's samples from `start` to `stop` (or to the end), both at `rate` Hz, in mono chunks (n,).

    They are the same as if the whole file had been resampled at once. For this, CONTEXT_S more is read on both sides,
    from a frame on that coincides with a sample at the new rate. Raises ReaderError.
    """
    period_in, period_out = period(reader.rate, rate)
    first_period = max(0, start - math.ceil(CONTEXT_S * rate)) // period_out
    read_stop = None if stop is None else math.ceil((stop / rate + CONTEXT_S) * reader.rate)
    position = first_period * period_out
    for chunk in _resample_blocks(reader.blocks(first_period * period_in, read_stop), reader.rate, rate):
        part = chunk[max(0, start - position) : None if stop is None else max(0, stop - position)]
        position += len(chunk)
        if len(part):
            yield part


def _resample_blocks(
    blocks: Iterator[npt.NDArray[np.float32]], rate_in: int, rate_out: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Consecutive blocks from one rate to another, through soxr."""
    if rate_in == rate_out:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)
