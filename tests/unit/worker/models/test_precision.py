"""Mixed precision, as far as a CPU can show it; test_precision_on_gpu.py shows it on a GPU."""

import os

import numpy as np
import pytest
import torch

from genremill.bench.random_weights import seeded_state
from genremill.sample.long_track import write_long_track
from tests.support.gpu import MODELS, chords
from worker.decode.windows import read_windows
from worker.models import checkpoints, precision, registry
from worker.models.networks import vgg
from worker.windowing import Windowing

CPU = torch.device("cpu")
GPU = torch.device("cuda:0")


def build_network(name: str) -> torch.nn.Module:
    """A model's network on the CPU, with seeded weights where none are shipped."""
    module = registry.import_model_module(registry.find_model(name))
    if name == "musicnn":
        return checkpoints.load_model(checkpoints.find_checkpoint(name), "cpu").network
    return checkpoints.build_with_weights(module, seeded_state(module)).requires_grad_(False)


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    path = tmp_path_factory.mktemp("track") / "track.flac"
    write_long_track(path, seed=3)
    return os.fsencode(path)


@pytest.mark.parametrize(
    ("name", "taken"), [("musicnn", "float16"), ("vit_b_16_mel", "bfloat16"), ("vgg19_bn_cqt", "bfloat16")]
)
@torch.inference_mode()
def test_probabilities_of_music_stay_within_a_hundredth(track, name, taken):
    module = registry.import_model_module(registry.find_model(name))
    hop = 0 if name == "musicnn" else module.HOP
    windowing = Windowing(module.SAMPLE_RATE, module.WINDOW, "regions", hop)
    pcm = np.concatenate([windows.pcm.copy() for windows in read_windows(track, windowing, 64)])
    waveforms = torch.from_numpy(pcm) / 32_768
    full, lowered = build_network(name), build_network(name)
    assert precision.cast_to(lowered, torch.bfloat16) is getattr(torch, taken)
    expected, found = full(waveforms), lowered(waveforms)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.01
    assert expected.std() > 0.005


@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_embeddings_point_where_those_of_float32_do(name):
    full, lowered = build_network(name), build_network(name)
    precision.cast_to(lowered, torch.bfloat16)
    window = registry.import_model_module(registry.find_model(name)).WINDOW
    waveforms = torch.from_numpy(chords(2, window)) / 32_768
    (_, expected), (probabilities, found) = (one.forward_with_embedding(waveforms) for one in (full, lowered))
    assert torch.equal(probabilities, lowered(waveforms))
    assert torch.cosine_similarity(expected.double(), found.double()).min() > 0.999
    assert not torch.equal(expected, found)


@torch.inference_mode()
def test_folded_norms_give_the_same_logits():
    state = seeded_state(vgg)
    plain, folded = (checkpoints.build_with_weights(vgg, state).requires_grad_(False) for _ in range(2))
    pictures = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    folded.cast_to(torch.float32)
    expected = plain.logits(pictures)
    assert (folded.logits(pictures) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_on_a_cpu_numbers_are_float32_whatever_is_asked_for():
    assert {precision.choose_dtype(amp, CPU) for amp in ("auto", "bf16", "fp16", "off")} == {torch.float32}


@pytest.mark.parametrize(
    ("amp", "capability", "dtype"),
    [
        ("auto", (7, 5), torch.float16),
        ("auto", (8, 0), torch.bfloat16),
        ("auto", (9, 0), torch.bfloat16),
        ("bf16", (7, 5), torch.bfloat16),
        ("fp16", (9, 0), torch.float16),
        ("off", (9, 0), torch.float32),
    ],
)
def test_on_a_gpu_auto_is_bfloat16_where_the_gpu_has_it(monkeypatch, amp, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert precision.choose_dtype(amp, GPU) is dtype


class Casting(torch.nn.Linear):
    """A network that casts its own weights, and takes float16 whatever is asked for."""

    def __init__(self) -> None:
        super().__init__(2, 2)

    def cast_to(self, dtype: torch.dtype) -> torch.dtype:
        self.asked_for = dtype
        return torch.float16


class Lowering(torch.nn.Linear):
    """The same, under the method's earlier name."""

    def __init__(self) -> None:
        super().__init__(2, 2)

    def lower(self, dtype: torch.dtype) -> torch.dtype:
        self.asked_for = dtype
        return torch.float16


@pytest.mark.parametrize("network_class", [Casting, Lowering])
def test_a_users_network_casts_itself_and_says_to_what(network_class):
    network = network_class()
    assert precision.cast_to(network, torch.bfloat16) is torch.float16
    assert network.asked_for is torch.bfloat16


@pytest.mark.parametrize("network_class", [Casting, Lowering, lambda: torch.nn.Linear(2, 2)])
def test_float32_leaves_a_network_as_it_is(network_class):
    network = network_class()
    forward = network.forward
    assert precision.cast_to(network, torch.float32) is torch.float32
    assert not hasattr(network, "asked_for")
    assert network.forward == forward


def test_casting_parameters_leaves_constants_as_they_are():
    network = torch.nn.Linear(2, 2)
    network.register_buffer("constant", torch.ones(1))
    precision.cast_parameters(network, torch.bfloat16)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}
    assert network.constant.dtype == torch.float32
