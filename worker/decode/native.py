"""Regions as a file has them, at its rate and with its channels: for a device that resamples and cuts them itself."""

import math

import numpy as np

from worker.decode.readers.base import ReaderError
from worker.windowing import CONTEXT_S, NativeLayout, Windowing

SILENCE = 32  # the loudest int16 of a window nobody hears: -60 dBFS
CLEARLY = 4  # times that: audible after resampling too
GLANCE = 1024  # frames of a window that are looked at first
MOST_STEP = 1024  # frames after which two rates meet again, at most: a resampler's matrix grows with it


def read_native(reader, total: int, windowing: Windowing, room: np.ndarray) -> tuple[np.ndarray, NativeLayout] | None:
    """The regions of a track of `total` samples at the model's rate, in `room`, int16 (samples,); and how windows lie
    in them. None where windows have to be cut by worker.decode.windows: the track is too short, some window may be
    silent, the file is damaged, or its rate has little in common with the model's."""
    step_in, step_out = steps(reader.rate, windowing.sample_rate)
    regions = windowing.regions(total)
    if not regions or max(step_in, step_out) > MOST_STEP or regions[0][0].start < 0:
        return None
    shape = (len(regions), windowing.region_frames(reader.rate) + step_in, reader.channels)
    if math.prod(shape) > len(room):
        return None
    pcm, offsets = room[: math.prod(shape)].reshape(shape), []
    try:
        for region, positions in zip(pcm, regions, strict=True):
            begin = max(0, positions[0].start - math.ceil(CONTEXT_S * windowing.sample_rate)) // step_out
            region[reader.read_into(region, begin * step_in) :] = 0
            offsets.append(positions[0].start - begin * step_out)
    except ReaderError:
        return None
    native = NativeLayout(reader.rate, tuple(offsets), len(regions[0]), windowing.stride)
    return (pcm, native) if _clearly_audible(pcm, native, windowing) else None


def _clearly_audible(pcm: np.ndarray, native: NativeLayout, windowing: Windowing) -> bool:
    """Whether every window of native regions is louder than silence by far."""
    scale = native.rate / windowing.sample_rate
    length = int(windowing.stride * scale)
    for region, offset in zip(pcm, native.offsets, strict=True):
        for number in range(native.windows):
            begin = int((offset + windowing.context + number * native.stride) * scale)
            window = region[begin : begin + length]
            if not (_loud(window[length // 2 :][:GLANCE]) or _loud(window)):
                return False
    return True


def _loud(frames: np.ndarray) -> bool:
    mono = frames.sum(1, dtype=np.int32)
    return max(int(mono.max()), -int(mono.min())) > CLEARLY * SILENCE * frames.shape[1]


def steps(rate_in: int, rate_out: int) -> tuple[int, int]:
    """Samples of two rates that last as long, the fewest."""
    common = math.gcd(rate_in, rate_out)
    return rate_in // common, rate_out // common
