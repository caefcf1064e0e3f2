"""Samples of every type and any number of channels to mono."""

import numpy as np
import pytest

from worker.decode.downmix import mix, mix_planes, numpy_dtype, replace_non_finite, round_and_clip, to_int16

# For each sample type: values, and what they are in [-1, 1].
SAMPLES = {
    "u1": ([0, 128, 255], [-1.0, 0.0, 127 / 128]),
    "i2": ([-32_768, 0, 16_384], [-1.0, 0.0, 0.5]),
    "i4": ([-(1 << 31), 0, 1 << 30], [-1.0, 0.0, 0.5]),
    "i8": ([-(1 << 63), 0, 1 << 62], [-1.0, 0.0, 0.5]),
    "f4": ([-1.0, 0.0, 0.5], [-1.0, 0.0, 0.5]),
    "f8": ([-1.0, 0.0, 0.5], [-1.0, 0.0, 0.5]),
}


@pytest.mark.parametrize("full_scale", [1.0, 32_768])
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("dtype", SAMPLES)
def test_the_mean_of_channels_is_the_same_however_they_lie(dtype, channels, full_scale):
    values, levels = SAMPLES[dtype]
    planes = [np.roll(np.array(values, dtype), channel) for channel in range(channels)]
    expected = full_scale * np.mean([np.roll(levels, channel) for channel in range(channels)], axis=0)
    for mono in (mix(np.stack(planes, 1), full_scale), mix_planes(planes, full_scale)):
        assert mono.dtype == np.float32
        assert mono == pytest.approx(expected, abs=1e-6 * full_scale)


def test_the_loudest_sample_is_1_unless_another_scale_is_asked_for():
    pcm = np.full((2, 2), -32_768, np.int16)
    assert mix(pcm).tolist() == mix_planes(list(pcm)).tolist() == [-1.0, -1.0]


def test_planes_are_not_overwritten():
    planes = [np.ones(3, np.float32) for _ in range(3)]
    assert mix_planes(planes).tolist() == [1, 1, 1]
    assert all((plane == 1).all() for plane in planes)


@pytest.mark.parametrize(
    ("sample_format", "dtype"),
    [
        ("u8", np.uint8),
        ("s16", np.int16),
        ("s16p", np.int16),
        ("s32p", np.int32),
        ("s64", np.int64),
        ("flt", np.float32),
        ("fltp", np.float32),
        ("dblp", np.float64),
    ],
)
def test_each_sample_format_of_ffmpeg_has_a_dtype(sample_format, dtype):
    assert numpy_dtype(sample_format) == dtype


def test_numbers_that_are_no_samples_are_replaced():
    mono = np.array([0.5, np.nan, np.inf, -np.inf, -3.0], np.float32)
    assert replace_non_finite(mono).tolist() == [0.5, 0.0, 1.0, -1.0, -1.0]
    assert replace_non_finite(np.array([1e30, -0.25], np.float32)).tolist() == [1.0, -0.25]


def test_finite_samples_stay_as_they_are_also_louder_than_full_scale():
    mono = np.array([4.0, -3.0, 0.1], np.float32)
    assert replace_non_finite(mono) is mono
    assert mono.tolist() == np.array([4.0, -3.0, 0.1], np.float32).tolist()


def test_floats_are_rounded_and_clipped_to_int16():
    samples = np.array([0.5, 1.4 / 32_768, 1.6 / 32_768, -1.6 / 32_768, 1.0, -1.0, -1.1, 7.0], np.float32)
    found = to_int16(samples)
    assert found.dtype == np.int16
    assert found.tolist() == [16_384, 1, 2, -2, 32_767, -32_768, -32_768, 32_767]


def test_rounding_happens_in_place():
    samples = np.array([32_766.6, 32_767.6, -32_768.6, 0.4], np.float32)
    assert round_and_clip(samples) is samples
    assert samples.tolist() == [32_767, 32_767, -32_768, 0]
