"""Mixes samples of any type and any number of channels down to mono, and rounds them to int16."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

INT16_SCALE = 32768  # An int16 sample of this value would be a float sample of 1.0.

# FFmpeg's names of sample formats, as numpy's. A "p" at the end of FFmpeg's name says that channels lie apart.
NUMPY_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


def mix(samples: npt.NDArray[Any], full_scale: float = 1.0) -> npt.NDArray[np.float32]:
    """Mix interleaved channels to their mean: (n, channels) of any sample type -> float32 (n,).

    full_scale: the value in the result that stands for the loudest possible sample.
    """
    weight, offset = _scale(samples.dtype, samples.shape[1], full_scale)
    with np.errstate(all="ignore"):  # Float files may hold infinity, and infinity minus infinity warns.
        weights = np.full(samples.shape[1], weight, np.float32)
        mono: npt.NDArray[np.float32] = samples.astype(np.float32, copy=False) @ weights  # np.mean is 20 times slower.
    return mono - offset if offset else mono


def mix_planes(planes: Sequence[npt.NDArray[Any]], full_scale: float = 1.0) -> npt.NDArray[np.float32]:
    """Mix channels that lie apart to their mean: a sequence of (n,) of any sample type -> float32 (n,).

    full_scale: see mix().
    """
    weight, offset = _scale(planes[0].dtype, len(planes), full_scale)
    with np.errstate(all="ignore"):  # Float files may hold infinity, and infinity minus infinity warns.
        second = planes[1] if len(planes) > 1 else 0
        mono: npt.NDArray[np.float32] = np.add(planes[0], second, None, dtype=np.float32, casting="unsafe")
        for plane in planes[2:]:
            np.add(mono, plane, out=mono, casting="unsafe")
        mono *= weight
    return mono - offset if offset else mono


@cache
def numpy_dtype(sample_format: str) -> np.dtype[Any]:
    """The numpy dtype of one of FFmpeg's sample formats, such as "s16" or "fltp". Raises KeyError for others."""
    return np.dtype(NUMPY_DTYPES[sample_format.removesuffix("p")])


@cache
def _scale(dtype: np.dtype[Any], channels: int, full_scale: float) -> tuple[np.float32, np.float32]:
    """What the sum of the channels is multiplied by to be their mean, and what is then subtracted from it.

    Only unsigned 8-bit samples need something subtracted: their silence is 128.
    """
    loudest = 1.0 if dtype.kind == "f" else float(1 << (8 * dtype.itemsize - 1))
    offset = full_scale if dtype == np.uint8 else 0.0
    return np.float32(full_scale / (loudest * channels)), np.float32(offset)


def replace_non_finite(mono: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Replace NaN by 0 and clip to [-1, 1] where a sample is NaN, infinite, or so large that its square is infinite.

    Otherwise the samples are returned as they are. The sum of squares tells in one pass. np.einsum computes it because
    np.dot, although faster alone, takes longer between the calls of a decoder.
    """
    with np.errstate(all="ignore"):
        if not math.isfinite(np.einsum("i,i", mono, mono)):
            mono = np.clip(np.nan_to_num(mono, nan=0.0), -1.0, 1.0)
    return mono


def to_int16(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Round float samples in [-1, 1] to int16; louder ones clip. The input array is overwritten."""
    scaled = np.multiply(samples, np.float32(INT16_SCALE), out=samples)
    return round_and_clip(scaled).astype(np.int16)


def round_and_clip(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Round samples that are already in the range of int16, and clip them to it. The input array is overwritten.

    NaN stays NaN, which becomes 0 when it is stored as int16.
    """
    np.rint(samples, out=samples)
    return samples.clip(-INT16_SCALE, INT16_SCALE - 1, out=samples)
