"""Mel and constant-Q spectrograms against librosa's."""

import librosa
import numpy as np
import pytest
import torch

from genremill.bench import naive
from tests.unit.worker.features.waveforms import RATE, WAVEFORMS
from worker.features.constant_q import BINS, ConstantQPower
from worker.features.mel import MelPower
from worker.features.picture import decibels

SPECTROGRAMS = {"mel": lambda: MelPower(RATE, 2048, 512, 128, "constant"), "cqt": ConstantQPower}
MAX_ERROR_DB = {"mel": 0.005, "cqt": 0.05}


@pytest.mark.parametrize("name", WAVEFORMS)
@pytest.mark.parametrize("feature", SPECTROGRAMS)
def test_decibels_are_librosas(feature, name):
    waveform = WAVEFORMS[name]
    power = SPECTROGRAMS[feature]()(torch.from_numpy(waveform)[None])
    found = decibels(power, power.amax((1, 2)))[0].numpy()
    expected = librosa.power_to_db(naive.power(feature, waveform), ref=np.max)
    error = np.abs(found - expected)
    assert found.shape == expected.shape
    assert error[expected > -80].max() <= MAX_ERROR_DB[feature]
    assert np.median(error) <= 0.001


def test_a_batch_gives_what_each_gives_alone():
    waveforms = torch.from_numpy(np.stack([WAVEFORMS["noise"], WAVEFORMS["sweep"]]))
    for make in SPECTROGRAMS.values():
        together = make()(waveforms)
        alone = torch.cat([make()(waveform[None]) for waveform in waveforms])
        assert (together - alone).abs().max() <= 1e-6 * alone.max()


@pytest.mark.parametrize("samples", [512 * 100, 512 * 100 - 1])
def test_a_constant_q_spectrogram_has_a_frame_for_each_hop_and_one_more(samples):
    assert ConstantQPower()(torch.zeros(2, samples)).shape == (2, BINS, 1 + samples // 512)
