"""Small slices of batches for tests: at 8 Hz a window has 6 samples; a region has two windows, one every 4 samples."""

import numpy as np
import torch

from worker.inference.batch import BatchSlice
from worker.windowing import NativeLayout

RATE, WINDOW, REGION_WINDOWS, STRIDE = 8, 6, 2, 4
FRAMES = 16  # Of a region: enough for its windows from offset 6 on.


def layout(offsets=(1, 0, 3), rate=RATE):
    return NativeLayout(rate, offsets, REGION_WINDOWS, STRIDE)


def plain_slice(windows, value=0):
    return BatchSlice(torch.full((windows, WINDOW), value, dtype=torch.int16), None, 0, windows)


def native_slice(native=None, channels=2, seed=0, frames=FRAMES):
    native = native or layout()
    shape = (len(native.offsets), frames, channels)
    pcm = np.random.default_rng(seed).integers(-30_000, 30_000, shape).astype(np.int16)
    return BatchSlice(torch.from_numpy(pcm), native, 0, len(native))
