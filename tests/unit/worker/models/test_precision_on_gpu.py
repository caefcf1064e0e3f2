"""Mixed precision on a GPU stays close to float32."""

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


def test_a_network_that_cannot_cast_itself_runs_under_autocast():
    plain = torch.nn.Linear(8, 8).cuda()
    assert precision.cast_to(plain, torch.bfloat16) is torch.bfloat16
    assert plain.weight.dtype == torch.float32
    assert plain(torch.ones(1, 8, device="cuda")).dtype == torch.bfloat16
