"""Mixed precision on a GPU stays close to float32."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.gpu import MODELS, chords, load_model, needs_gpu, predict
from worker.models import precision

pytestmark = needs_gpu


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("amp", ["auto", "fp16"])
def test_mixed_precision_stays_close_to_float32(name, amp):
    lowered = load_model(name, "cuda:0", amp)
    assert lowered.dtype in ("bfloat16", "float16")
    pcm = chords(40, lowered.window)
    full = load_model(name, "cuda:0")
    assert np.abs(predict(lowered, "cuda:0", pcm) - predict(full, "cuda:0", pcm)).max() < 0.01


@pytest.mark.parametrize("name", MODELS)
def test_embeddings_leave_probabilities_as_they_are_and_stay_close_to_float32(name):
    cpu, gpu = load_model(name, "cpu"), load_model(name, "cuda:0", "auto")
    pcm, labels, size = chords(8, gpu.window), len(gpu.labels), gpu.network.embedding_size
    found = predict(replace(gpu, embedding_size=size), "cuda:0", pcm)
    assert found.shape == (8, labels + size)
    assert np.abs(found[:, :labels] - predict(gpu, "cuda:0", pcm)).max() < 1e-3
    expected = predict(replace(cpu, embedding_size=size), "cpu", pcm)
    embeddings = [torch.from_numpy(answer[:, labels:]) for answer in (expected, found)]
    assert torch.cosine_similarity(*embeddings).min() > 0.99


def test_a_network_that_cannot_cast_itself_runs_under_autocast():
    plain = torch.nn.Linear(8, 8).cuda()
    assert precision.cast_to(plain, torch.bfloat16) is torch.bfloat16
    assert plain.weight.dtype == torch.float32
    assert plain(torch.ones(1, 8, device="cuda")).dtype == torch.bfloat16
