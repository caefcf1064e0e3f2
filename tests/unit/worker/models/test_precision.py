"""Mixed precision, as far as a CPU can show it; tests/unit/test_gpu.py shows it on a GPU."""

import os

import numpy as np
import pytest
import torch

from genremill.bench.random_weights import seeded_state
from genremill.sample.long_track import compose_long
from worker.decode.windows import read_windows
from worker.models import checkpoints, precision, registry
from worker.models.networks import vgg
from worker.windowing import Windowing

CPU = torch.device("cpu")


def network(name: str) -> torch.nn.Module:
    module = registry.import_model_module(registry.find_model(name))
    if name == "musicnn":
        return checkpoints.load_model(checkpoints.find_checkpoint(name), "cpu").network
    return checkpoints.build_with_weights(module, seeded_state(module)).requires_grad_(False)


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    path = tmp_path_factory.mktemp("track") / "track.flac"
    compose_long(path, seed=3)
    return os.fsencode(path)


@pytest.mark.parametrize(
    ("name", "took"), [("musicnn", "float16"), ("vit_b_16_mel", "bfloat16"), ("vgg19_bn_cqt", "bfloat16")]
)
@torch.inference_mode()
def test_probabilities_of_music_stay_within_a_hundredth(track, name, took):
    module = registry.import_model_module(registry.find_model(name))
    hop = 0 if name == "musicnn" else module.HOP
    windowing = Windowing(module.SAMPLE_RATE, module.WINDOW, "regions", hop)
    pcm = np.concatenate([windows.pcm.copy() for windows in read_windows(track, windowing, 64)])
    waveforms = torch.from_numpy(pcm) / 32_768
    full, lowered = network(name), network(name)
    assert precision.cast_to(lowered, torch.bfloat16) is getattr(torch, took)
    expected, found = full(waveforms), lowered(waveforms)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.01
    assert expected.std() > 0.005


@torch.inference_mode()
def test_folded_norms_give_the_same_logits():
    state = seeded_state(vgg)
    plain, folded = (checkpoints.build_with_weights(vgg, state).requires_grad_(False) for _ in range(2))
    pictures = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    folded.lower(torch.float32)
    expected = plain.logits(pictures)
    assert (folded.logits(pictures) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_on_a_cpu_numbers_are_float32_whatever_is_asked_for():
    assert {precision.choose_dtype(amp, CPU) for amp in ("auto", "bf16", "fp16", "off")} == {torch.float32}
