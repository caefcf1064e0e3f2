"""The executor on a real GPU: how many batches it has at a time."""

import torch

from tests.support.gpu import load_model, needs_gpu
from worker.inference import profiler
from worker.inference.executors import GpuExecutor

pytestmark = needs_gpu


@torch.inference_mode()
def test_a_third_batch_waits_for_the_first():
    model = load_model("vit_b_16_mel", "cuda:0")  # slow enough for several batches to be started in that time
    gpu, batch = GpuExecutor(model, torch.device("cuda:0"), 0), profiler.noise_batch(model, 48)
    gpu.start(batch)()
    for _ in range(4):
        first = gpu._started[0]
        gpu.start(batch)
        assert first.query()
        assert not gpu._started[-1].query()
    first = gpu._started[0]
    assert not first.query()
    assert gpu.free_bytes()
    assert first.query()
    gpu.check()
