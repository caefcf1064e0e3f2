"""The engine on a real GPU gives what the CPU gives, and copies while it computes."""

import contextlib

import numpy as np
import pytest
import torch

from tests.support.gpu import MODELS, chords, load_model, needs_gpu, predict
from worker.inference.engine import Engine
from worker.inference.executors import pin
from worker.inference.requests import WindowRequest
from worker.windowing import REGIONS, FrameCut, NativeLayout

pytestmark = needs_gpu


@pytest.fixture
def pin_until_the_end():
    """A function that pins memory until the test ends, also when the test fails.

    Memory that stayed pinned would make later copies fail, once it belongs to another array.
    """
    with contextlib.ExitStack() as stack:

        def pin_memory(memory: np.ndarray) -> np.ndarray:
            stack.callback(pin(memory))
            return memory

        yield pin_memory


@pytest.mark.parametrize("name", MODELS)
def test_the_engine_gives_the_same_probabilities(name):
    model = load_model(name, "cuda:0")
    pcm = chords(7, model.window)
    assert np.abs(predict(model, "cuda:0", pcm) - predict(load_model(name, "cpu"), "cpu", pcm)).max() < 0.01


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 2), (22_050, 1), (44_100, 1)])
@pytest.mark.parametrize("name", MODELS)
def test_regions_as_the_file_has_them_give_what_the_cpu_gives(name, rate, channels, pin_until_the_end):
    cpu, gpu = load_model(name, "cpu"), load_model(name, "cuda:0")
    windowing = cpu.windowing()
    frames = int((windowing.region_windows * windowing.stride + windowing.window) / windowing.sample_rate * rate)
    mono = chords(REGIONS, frames)
    pcm = pin_until_the_end(np.stack([mono] * channels, 2))
    native = NativeLayout(rate, (0, 7, 300), windowing.region_windows, windowing.stride)
    found = [predict(model, device, pcm, native) for model, device in ((cpu, "cpu"), (gpu, "cuda:0"))]
    assert len(found[0]) == len(native)
    assert np.abs(found[0] - found[1]).max() < 0.01


def test_windows_are_copied_while_the_batch_before_them_is_computed_on(pin_until_the_end):
    model = load_model("vit_b_16_mel", "cuda:0")  # slow enough for the next batch to be staged and copied in that time
    engine, answers = Engine.start(model, "cuda:0", threads=1), []
    whole_batch = (engine.counters.best, model.window)  # each request is a batch by itself
    pcm = pin_until_the_end(np.resize(chords(16, model.window), whole_batch))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True) as trace:
        for _ in range(12):
            engine.submit(WindowRequest(pcm, lambda: None, answers.append, answers.append, cut=FrameCut(490)))
        engine.close()
    spans = [(event.name, event.time_range.start, event.time_range.end) for event in trace.events()]
    copies = [(start, end) for name, start, end in spans if "HtoD" in name and "Pinned" in name and end - start > 100]
    kernels = [(start, end) for name, start, end in spans if "Mem" not in name]
    overlapped = [any(a < end and start < b for a, b in kernels) for start, end in copies]
    assert len(answers) == 12
    assert len(copies) >= 6
    assert sum(overlapped) >= len(copies) / 2
