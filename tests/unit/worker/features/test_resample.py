"""Resampling against soxr's."""

import numpy as np
import pytest
import soxr
import torch

from worker.features.resample import Resample

RATE = 22_050  # Hz


@pytest.mark.parametrize("rate", [8_000, 16_000, 32_000, 44_100, 48_000, 96_000])
def test_resampling_is_soxrs(rate):
    waveform = np.random.default_rng(2).normal(0, 0.2, rate * 2 + 7).astype(np.float32)
    found = Resample(rate, RATE)(torch.from_numpy(waveform)[None])[0].numpy()
    expected = soxr.resample(waveform, rate, RATE, "HQ")
    inside = slice(500, len(expected) - 500)
    assert abs(len(found) - len(expected)) <= 1
    assert np.abs(found[inside] - expected[inside]).max() < 2e-6


@pytest.mark.parametrize("blocks", [1, 3, 64])
def test_more_blocks_in_a_product_change_nothing_but_its_rounding(blocks):
    waveforms = torch.randn(2, 44_107, generator=torch.Generator().manual_seed(0))
    expected = Resample(44_100, RATE)(waveforms)
    found = Resample(44_100, RATE, blocks)(waveforms)
    assert found.shape == expected.shape == (2, 22_054)
    assert (found - expected).abs().max() < 2e-6
