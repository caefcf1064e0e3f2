"""The default model against the original under TensorFlow 1.14 (tests/data/musicnn_reference.npz)."""

import numpy as np
import pytest
import torch

from settings import GenremillError
from tests.support.paths import DATA
from worker.features.mel import mel_filters
from worker.models import checkpoints, registry
from worker.models.networks import musicnn

REFERENCE = DATA / "musicnn_reference.npz"


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as file:
        return dict(file)


@pytest.fixture(scope="module")
def model():
    return checkpoints.load_model(checkpoints.find_checkpoint("musicnn"), "cpu")


def test_labels_are_the_originals_in_its_order(reference, model):
    assert [name for name, _ in model.labels] == [str(tag) for tag in reference["tags"]]


def test_every_kind_names_tags_that_exist():
    assert {tag for tags in musicnn.KINDS.values() for tag in tags} <= set(musicnn.TAGS)


@torch.inference_mode()
def test_probabilities_of_the_patches(reference, model):
    found = model.network.classify(torch.from_numpy(reference["patches"])).numpy()
    assert np.abs(found - reference["probabilities"]).max() < 1e-4


@pytest.mark.parametrize(("channels", "frames", "bands"), [(5, 7, 38), (3, 7, 67), (4, 128, 1), (2, 33, 1), (1, 4, 1)])
@pytest.mark.parametrize("patch_frames", [187, 192, 20])
@torch.inference_mode()
def test_on_a_cpu_a_convolutions_maxima_are_those_of_the_convolution(channels, frames, bands, patch_frames):
    torch.manual_seed(0)
    frontend, x = musicnn.Frontend(channels, frames, bands), torch.randn(2, 1, patch_frames, 96)
    expected = frontend.conv(frontend._padded(x)).amax(3)
    found = frontend(x)
    assert found.shape == expected.shape == (2, channels, patch_frames)
    assert (found - expected).abs().max() < 1e-5


@torch.inference_mode()
def test_patches_and_probabilities_from_audio(reference, model):
    names = [str(name) for name in reference["names"]]
    sources = [name.removeprefix("audio_") for name in reference if name.startswith("audio_")]
    assert len(sources) == 4
    for source in sources:
        row = names.index(f"{source}:0")
        waveform = torch.from_numpy(reference[f"audio_{source}"][: model.window].astype(np.float32) / 32768)[None]
        patches = model.network.features(waveform)[0].numpy()
        # the original rounds power to float16: a few values fall on the other side, and move by one step of 2^-10
        off = np.abs(patches - reference["patches"][row])
        assert (off > 1e-4).mean() < 1e-3
        assert off.max() < np.log10(1 + 2**-10) + 1e-5
        assert np.abs(model.network(waveform)[0].numpy() - reference["probabilities"][row]).max() < 5e-3


@pytest.mark.parametrize(("sample_rate", "fft", "mels"), [(16_000, 512, 96), (22_050, 2048, 128)])
def test_mel_filters_are_librosas(sample_rate, fft, mels):
    import librosa

    expected = librosa.filters.mel(sr=sample_rate, n_fft=fft, n_mels=mels)
    assert np.abs(mel_filters(sample_rate, fft, mels).numpy() - expected).max() < 1e-7


def test_a_window_gives_just_its_frames(model):
    assert model.network.features(torch.zeros(2, model.window)).shape == (2, musicnn.FRAMES, musicnn.MELS)


def test_an_unknown_model_names_those_there_are():
    with pytest.raises(GenremillError, match="musicnn"):
        registry.find_model("musicn")
