"""What a model costs, measured on a real GPU."""

import pytest
import torch

from tests.support.gpu import PICTURE_MODELS, load_model, needs_gpu
from worker.inference import profiler
from worker.inference.executors import GpuExecutor

pytestmark = needs_gpu


@pytest.mark.parametrize("name", PICTURE_MODELS)
@torch.inference_mode()
def test_the_memory_of_a_batch_is_foreseen(name):
    model = load_model(name, "cuda:0", "auto")
    gpu = GpuExecutor(model, torch.device("cuda:0"), 0)
    profile, weights = profiler.profile(model, gpu, None), torch.cuda.memory_allocated()
    for batch in (3, 12, 24, 48, 96):
        _, peak_bytes = profiler.measure_batch(model, gpu, batch)
        assert (weights + profile.peak_bytes(batch)) / (weights + peak_bytes) == pytest.approx(1, abs=0.1), batch
