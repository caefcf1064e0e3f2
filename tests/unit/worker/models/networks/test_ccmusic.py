"""The two published networks: what they see, their parameters and outputs, and the heads that are told apart."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genremill.bench.random_weights import HEADS, seeded_state
from tests.support.paths import DATA
from worker.models import checkpoints
from worker.models.interface import CastingNetwork, EmbeddingNetwork, FramedNetwork
from worker.models.networks import vgg, vit
from worker.models.networks.ccmusic import FRAMES, PictureNetwork

PARAMETERS = DATA / "torchvision_parameters.json"  # The names and shapes of torchvision 0.26.
NETWORKS = {"vit_b_16": vit, "vgg19_bn": vgg}
# Of the published heads for 16 classes: the name, and the shapes (outputs, inputs) of their four linear layers.
PUBLISHED = {
    "vit_b_16": ("heads.head", [(289, 768), (110, 289), (42, 110), (16, 42)]),
    "vgg19_bn": ("classifier", [(3958, 25_088), (629, 3958), (100, 629), (16, 100)]),
}


def make_waveforms(module) -> Tensor:
    """Two windows: noise, and a tone of 440 Hz."""
    noise = torch.rand(module.WINDOW, generator=torch.Generator().manual_seed(0)) - 0.5
    tone = torch.sin(torch.arange(module.WINDOW) * (2 * torch.pi * 440 / module.SAMPLE_RATE)) / 2
    return torch.stack([noise, tone])


def shapes(state) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_torchvisions(name):
    expected = json.loads(PARAMETERS.read_text())[name]
    network = NETWORKS[name].build({parameter: torch.empty(1000, 1) for parameter in HEADS["torchvision"]})
    assert shapes(network.state_dict()) == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_the_published_head_has_the_published_layers(name):
    prefix, layers = PUBLISHED[name]
    state = NETWORKS[name].build({f"{prefix}.9.weight": torch.empty(16, 1)}).state_dict()
    assert [tuple(state[f"{prefix}.{index}.weight"].shape) for index in (1, 4, 7, 9)] == layers


@pytest.mark.parametrize("classes", [2, 16, 101])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_state_dict_tells_the_head_and_the_classes(name, head, classes):
    state = seeded_state(NETWORKS[name], head, classes)
    network = checkpoints.build_with_weights(NETWORKS[name], state)
    assert shapes(network.state_dict()) == shapes(state)
    with torch.inference_mode():
        assert network.logits(torch.zeros(1, 3, 224, 224)).shape == (1, classes)


@pytest.mark.parametrize("head", ["published", "torchvision"])
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_outputs_are_torchvisions(name, head):
    torchvision = pytest.importorskip("torchvision")
    state = seeded_state(NETWORKS[name], head)
    ours = checkpoints.build_with_weights(NETWORKS[name], state)
    theirs = getattr(torchvision.models, name)(num_classes=16)
    if head == "published" and name == "vit_b_16":
        theirs.heads.head = ours.heads.head
    elif head == "published":
        theirs.classifier = ours.classifier
    theirs.load_state_dict(state)
    pictures = torch.rand(4, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected, found = theirs.eval()(pictures), ours.logits(pictures)
    assert (found.softmax(1) - expected.softmax(1)).abs().max() < 1e-5
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1)


class Fold(nn.Module):
    """In the place of a spectrogram: waveforms (batch, 2 * frames) -> two bins (batch, 2, frames)."""

    def forward(self, waveform: Tensor) -> Tensor:
        return waveform.unflatten(1, (2, -1))


class Mean(nn.Module):
    """In the place of a picture: the mean of the decibels, and how many frames count, of each window."""

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        return torch.stack([values.mean((1, 2)), lengths.float()], 1)


class Plain(PictureNetwork):
    """Scores and embeddings that are what was seen."""

    embedding_size = 2

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def apply_head(self, encoded: Tensor) -> Tensor:
        return encoded


CONTEXT = 3  # frames


@pytest.fixture
def network():
    return Plain(Fold(), Mean(), CONTEXT)


@pytest.fixture
def waveform():
    """Two windows of FRAMES + 1 frames and context: the power is 1 in context and in the last frame, else 1e-2."""
    power = torch.ones(2, 2, FRAMES + 1 + 2 * CONTEXT)
    power[:, :, CONTEXT : CONTEXT + FRAMES] = 1e-2
    return power.flatten(1)


def test_a_window_is_seen_without_its_context_and_without_frames_that_do_not_count(network, waveform):
    power = network.power(waveform, torch.tensor([FRAMES, FRAMES + 1]))
    assert power.shape == (2, 2, FRAMES + 1)
    assert torch.equal(power.amax((1, 2)), torch.tensor([1e-2, 1.0]))
    assert torch.equal(network.peak(waveform, torch.tensor([FRAMES, FRAMES + 1])), torch.tensor([1e-2, 1.0]))


def test_0_db_is_a_windows_own_greatest_power_unless_it_is_given(network, waveform):
    lengths = torch.full((2,), FRAMES)
    seen = network.pictures(waveform, lengths, torch.tensor([torch.nan, 1e-1]))
    assert torch.allclose(seen, torch.tensor([[0.0, FRAMES], [-10.0, FRAMES]]) * 2 - 1, atol=1e-3)


def test_without_lengths_and_peaks_a_window_counts_with_its_usual_frames_and_its_own_power(network, waveform):
    lengths, peaks = torch.full((2,), FRAMES), torch.full((2,), torch.nan)
    found = network(waveform)
    assert torch.equal(found, network(waveform, lengths, peaks))
    assert torch.allclose(found.sum(1), torch.ones(2))


def test_an_embedding_is_of_what_the_network_sees_with_the_lengths_and_peaks_that_count(network, waveform):
    frames = torch.tensor([FRAMES, FRAMES]), torch.tensor([torch.nan, 1e-1])
    probabilities, embeddings = network.forward_with_embedding(waveform, *frames)
    assert torch.equal(probabilities, network(waveform, *frames))
    assert torch.equal(embeddings, network.pictures(waveform, *frames))
    assert torch.equal(network.forward_with_embedding(waveform)[0], network(waveform))


@pytest.mark.parametrize("head", HEADS)
@torch.inference_mode()
def test_vits_embeddings_are_what_its_head_gets(head):
    network, seen = checkpoints.build_with_weights(vit, seeded_state(vit, head)), []
    network.heads.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    waveform = make_waveforms(vit)
    probabilities, embeddings = network.forward_with_embedding(waveform)
    assert torch.equal(probabilities, network(waveform))
    assert embeddings.shape == (2, network.embedding_size) == (2, 768)
    assert torch.equal(embeddings, seen[0])
    assert embeddings.std(0).max() > 0.01  # The two windows differ.


@pytest.mark.parametrize("head", HEADS)
@torch.inference_mode()
def test_vggs_embeddings_are_the_means_of_its_last_channels(head):
    network, seen = checkpoints.build_with_weights(vgg, seeded_state(vgg, head)), []
    network.features[-1].register_forward_hook(lambda _module, _inputs, output: seen.append(output.numpy()))
    waveform = make_waveforms(vgg)
    probabilities, embeddings = network.forward_with_embedding(waveform)
    assert torch.equal(probabilities, network(waveform))
    assert embeddings.shape == (2, network.embedding_size) == (2, 512)
    expected = seen[0].reshape(2, 512, 49).astype(np.float64).mean(2)
    assert np.allclose(embeddings.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert embeddings.std(0).max() > 0.01  # The two windows differ.


@torch.inference_mode()
def test_with_lowered_weights_the_means_of_channels_are_taken_in_float32():
    encoded = torch.rand(1, 512, 7, 7, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    found = vgg.Vgg.embedding(None, encoded)
    assert found.dtype == torch.float32
    assert np.allclose(found.numpy(), encoded.double().mean((2, 3)).numpy(), rtol=1e-5)


@pytest.mark.parametrize(("name", "window"), [("vit_b_16", 253_440), ("vgg19_bn", 275_968)])
def test_they_take_frames_and_cast_themselves(name, window):
    network = NETWORKS[name].build({})
    assert isinstance(network, FramedNetwork)
    assert isinstance(network, CastingNetwork)
    assert isinstance(network, EmbeddingNetwork)
    assert window == NETWORKS[name].WINDOW
