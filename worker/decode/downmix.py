"""Samples of any type and any number of channels into mono."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

FULL_SCALE = 32768  # int16 of a sample of 1.0
DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}  # FFmpeg's sample formats


def mixed(samples: np.ndarray, full_scale: float = 1.0) -> np.ndarray:
    """The channels' mean: any sample type (n, channels) -> float32 (n,). A product: np.mean is 20 times slower."""
    weight, offset = _scale(samples.dtype, samples.shape[1], full_scale)
    with np.errstate(all="ignore"):  # infinity minus infinity
        mono = samples.astype(np.float32, copy=False) @ np.full(samples.shape[1], weight, np.float32)
    return mono - offset if offset else mono


def mixed_planes(planes: Sequence[np.ndarray], full_scale: float = 1.0) -> np.ndarray:
    """The same of channels (n,) that lie apart."""
    weight, offset = _scale(planes[0].dtype, len(planes), full_scale)
    with np.errstate(all="ignore"):
        mono = np.add(planes[0], planes[1] if len(planes) > 1 else 0, None, dtype=np.float32, casting="unsafe")
        for values in planes[2:]:
            np.add(mono, values, out=mono, casting="unsafe")
        mono *= weight
    return mono - offset if offset else mono


@cache
def dtype_of(name: str) -> np.dtype:
    """numpy's name of a sample format of FFmpeg."""
    return np.dtype(DTYPES[name.removesuffix("p")])


@cache
def _scale(dtype: np.dtype, channels: int, full_scale: float) -> tuple[np.float32, np.float32]:
    """What a sample is multiplied by, and what the mean is too large by."""
    full = 1.0 if dtype.kind == "f" else float(1 << (8 * dtype.itemsize - 1))
    return np.float32(full_scale / (full * channels)), np.float32(full_scale * (dtype == np.uint8))


def bounded(mono: np.ndarray) -> np.ndarray:
    """Without NaN or infinity. np.dot, which alone is faster, takes 14 us between a decoder's calls, this 5."""
    with np.errstate(all="ignore"):
        if not math.isfinite(np.einsum("i,i", mono, mono)):
            mono = np.clip(np.nan_to_num(mono, nan=0.0), -1.0, 1.0)
    return mono


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Float samples, which are overwritten, rounded to int16; what is louder than full scale clips."""
    return rounded(np.multiply(samples, np.float32(FULL_SCALE), out=samples)).astype(np.int16)


def rounded(samples: np.ndarray) -> np.ndarray:
    """Samples in int16's range, rounded and clipped, in their place. Of what is no number, int16 makes 0."""
    np.rint(samples, out=samples)
    return samples.clip(-FULL_SCALE, FULL_SCALE - 1, out=samples)
