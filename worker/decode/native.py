"""Reads regions as a file has them, at its rate and with its channels, for a device that resamples and cuts them."""

import math

import numpy as np
import numpy.typing as npt

from worker.decode.readers.base import Reader, ReaderError
from worker.decode.resampling import period
from worker.windowing import CONTEXT_S, NativeLayout, Windowing

SILENCE_PEAK = 32  # A window with no int16 sample louder than this is silent: nobody hears -60 dBFS.
CLEARLY_AUDIBLE = 4  # With a peak of this many times SILENCE_PEAK, a window is still audible after resampling.
GLANCE_FRAMES = 1024  # Frames in the middle of a window that are looked at first, since they mostly tell already.
MAX_PERIOD = 1024  # The longest period of two rates that a device resamples: its matrix grows with the period.


def read_native(
    reader: Reader, total: int, windowing: Windowing, buffer: npt.NDArray[np.int16]
) -> tuple[npt.NDArray[np.int16], NativeLayout] | None:
    """Read the regions of a track as the file has them: int16 (regions, frames, channels), and how windows lie in them.

    total: the track's length in samples at the model's rate. buffer: int16 (samples,), into which the regions are read.
    None where worker.decode.windows has to cut windows instead. Then the track is too short, the regions do not fit the
    buffer, some window may be silent, the file is damaged, or the two rates have little in common.
    """
    period_in, period_out = period(reader.rate, windowing.sample_rate)
    regions = windowing.regions(total)
    if not regions or max(period_in, period_out) > MAX_PERIOD or regions[0][0].start < 0:
        return None
    # A region begins at the last sample before its context that both rates have, hence up to one period more.
    shape = (len(regions), windowing.region_frames(reader.rate) + period_in, reader.channels)
    if math.prod(shape) > len(buffer):
        return None
    pcm, offsets = buffer[: math.prod(shape)].reshape(shape), []
    try:
        for region, positions in zip(pcm, regions, strict=True):
            context_start = positions[0].start - math.ceil(CONTEXT_S * windowing.sample_rate)
            first_period = max(0, context_start) // period_out
            region[reader.read_into(region, first_period * period_in) :] = 0
            offsets.append(positions[0].start - first_period * period_out)
    except ReaderError:
        return None
    layout = NativeLayout(reader.rate, tuple(offsets), len(regions[0]), windowing.stride)
    return (pcm, layout) if _is_clearly_audible(pcm, layout, windowing) else None


def _is_clearly_audible(pcm: npt.NDArray[np.int16], layout: NativeLayout, windowing: Windowing) -> bool:
    """Whether every window of native regions is louder than silence by far."""
    scale = layout.rate / windowing.sample_rate
    length = int(windowing.stride * scale)
    for region, offset in zip(pcm, layout.offsets, strict=True):
        for number in range(layout.windows):
            begin = int((offset + windowing.context + number * layout.stride) * scale)
            window = region[begin : begin + length]
            if not (_is_loud(window[length // 2 :][:GLANCE_FRAMES]) or _is_loud(window)):
                return False
    return True


def _is_loud(frames: npt.NDArray[np.int16]) -> bool:
    """Whether the mean of the channels (frames, channels) is clearly audible somewhere."""
    summed = frames.sum(1, dtype=np.int32)
    peak, channels = max(int(summed.max()), -int(summed.min())), int(frames.shape[1])
    return peak > CLEARLY_AUDIBLE * SILENCE_PEAK * channels
