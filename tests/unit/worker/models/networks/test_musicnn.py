"""The default model against the original under TensorFlow 1.14 (tests/data/musicnn_reference.npz)."""

import numpy as np
import pytest
import torch

from tests.support.paths import DATA
from worker.models import checkpoints
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
def test_probabilities_of_patches_are_the_originals(reference, model):
    found = model.network.classify(torch.from_numpy(reference["patches"])).numpy()
    assert np.abs(found - reference["probabilities"]).max() < 1e-4


@pytest.mark.parametrize(("channels", "frames", "bands"), [(5, 7, 38), (3, 7, 67), (4, 128, 1), (2, 33, 1), (1, 4, 1)])
@pytest.mark.parametrize("patch_frames", [187, 192, 20])
@torch.inference_mode()
def test_on_a_cpu_a_convolutions_maxima_are_those_of_the_convolution(channels, frames, bands, patch_frames):
    torch.manual_seed(0)
    frontend, x = musicnn.Frontend(channels, frames, bands), torch.randn(2, 1, patch_frames, 96)
    expected = frontend.conv(frontend._pad(x)).amax(3)
    found = frontend(x)
    assert found.shape == expected.shape == (2, channels, patch_frames)
    assert (found - expected).abs().max() < 1e-5


@torch.inference_mode()
def test_patches_and_probabilities_of_audio_are_the_originals(reference, model):
    names = [str(name) for name in reference["names"]]
    sources = [name.removeprefix("audio_") for name in reference if name.startswith("audio_")]
    assert len(sources) == 4
    for source in sources:
        row = names.index(f"{source}:0")
        waveform = torch.from_numpy(reference[f"audio_{source}"][: model.window].astype(np.float32) / 32768)[None]
        patches = model.network.features(waveform)[0].numpy()
        # The original rounds the power to float16. A few values are rounded the other way, which is a step of 2^-10.
        error = np.abs(patches - reference["patches"][row])
        assert (error > 1e-4).mean() < 1e-3
        assert error.max() < np.log10(1 + 2**-10) + 1e-5
        assert np.abs(model.network(waveform)[0].numpy() - reference["probabilities"][row]).max() < 5e-3


@torch.inference_mode()
def test_an_embedding_is_the_layer_before_the_last_of_the_same_pass(reference, model):
    """It is computed again with numpy, from the maps that hooks find."""
    network, maps = model.network, []
    hooks = [network.mid[0].register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0]))]
    hooks += [block.register_forward_hook(lambda _block, _inputs, output: maps.append(output)) for block in network.mid]
    audio = [reference[name] for name in reference if name.startswith("audio_")]
    waveform = torch.from_numpy(np.stack([pcm[: model.window] for pcm in audio]).astype(np.float32) / 32_768)
    probabilities, embeddings = network.forward_with_embedding(waveform)
    for hook in hooks:
        hook.remove()
    assert len(maps) == 4  # Each block ran once.
    front, first, second, third = (found.double().numpy() for found in maps)
    second = second + first
    stacked = np.concatenate([front, first, second, third + second], 1)
    pooled = np.concatenate([stacked.max(2), stacked.mean(2)], 1)
    weight, bias = (parameter.double().numpy() for parameter in (network.dense.weight, network.dense.bias))
    expected = np.maximum(pooled @ weight.T + bias, 0)
    assert embeddings.shape == (4, 200) == (4, network.embedding_size)
    assert np.abs(embeddings.numpy() - expected).max() < 1e-4 * expected.max()
    assert 0.1 < (embeddings > 0).float().mean() < 0.9
    assert torch.equal(probabilities, network(waveform))
    assert torch.equal(probabilities, network.out(embeddings).sigmoid())


def test_a_window_gives_exactly_its_frames(model):
    assert model.network.features(torch.zeros(2, model.window)).shape == (2, musicnn.FRAMES, musicnn.MELS)
