"""The mel filters, and the frames of a mel spectrogram."""

import librosa
import numpy as np
import pytest
import torch

from worker.features.mel import CPU_CHUNK_FRAMES, MelPower, mel_filters


@pytest.mark.parametrize(("sample_rate", "fft", "mels"), [(16_000, 512, 96), (22_050, 2048, 128)])
def test_mel_filters_are_librosas(sample_rate, fft, mels):
    expected = librosa.filters.mel(sr=sample_rate, n_fft=fft, n_mels=mels)
    assert np.abs(mel_filters(sample_rate, fft, mels).numpy() - expected).max() < 1e-7


@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
@pytest.mark.parametrize("samples", [10_240, 10_239, 256 * (CPU_CHUNK_FRAMES + 3)])
def test_padded_frames_are_librosas(pad_mode, samples):
    waveforms = np.random.default_rng(0).normal(0, 0.2, (2, samples)).astype(np.float32)
    found = MelPower(16_000, 512, 256, 96, pad_mode)(torch.from_numpy(waveforms)).numpy()
    expected = librosa.feature.melspectrogram(
        y=waveforms, sr=16_000, n_fft=512, hop_length=256, n_mels=96, pad_mode=pad_mode
    )
    assert found.shape == expected.shape == (2, 96, 1 + samples // 256)
    assert np.abs(found - expected).max() <= 1e-5 * expected.max()


def test_without_padding_all_frames_lie_within_the_waveform():
    waveform = torch.randn(1, 5_000, generator=torch.Generator().manual_seed(0))
    found = MelPower(16_000, 512, 256, 96, "none")(waveform)
    padded = MelPower(16_000, 512, 256, 96, "constant")(waveform[:, 256:])
    assert found.shape == (1, 96, 1 + (5_000 - 512) // 256)
    assert torch.allclose(found[:, :, 1:], padded[:, :, 1 : found.shape[2]], rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 200])
def test_chunks_of_a_batch_give_what_each_waveform_gives_alone(rows):
    waveforms = torch.randn(rows, 2_560, generator=torch.Generator().manual_seed(0))
    mel = MelPower(16_000, 512, 256, 96)
    alone = torch.cat([mel(waveform[None]) for waveform in waveforms])
    assert (mel(waveforms) - alone).abs().max() <= 1e-6 * alone.max()
