"""What a GPU computes is what the CPU computes. Skipped where there is no GPU."""

import contextlib

import numpy as np
import pytest
import torch

from genremill.bench.random_weights import seeded_state
from worker.features.picture import SpectrogramImage, first_frames
from worker.inference import profiler
from worker.inference.engine import Engine
from worker.inference.executors import GpuExecutor, pin
from worker.inference.requests import WindowRequest
from worker.models import checkpoints, precision, registry
from worker.models.checkpoints import Model
from worker.models.networks import vgg, vit
from worker.windowing import REGIONS, NativeLayout

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

STATES = {"vit_b_16_mel": lambda: seeded_state(vit), "vgg19_bn_cqt": lambda: seeded_state(vgg)}


def music(windows: int, samples: int) -> np.ndarray:
    """Windows that differ: a chord in noise, in int16."""
    time, chance = np.arange(samples) / 22_050, np.random.default_rng(0)
    waves = [
        np.sin(2 * np.pi * hz * time) * 0.3 + chance.normal(0, 0.05, samples) for hz in range(50, 50 + 90 * windows, 90)
    ]
    return np.stack([np.rint(wave * 16_000).astype(np.int16) for wave in waves])


@pytest.mark.parametrize("bins", [84, 128])
def test_the_kernels_draw_the_same_pictures(bins):
    pytest.importorskip("triton")
    values = (torch.randn(40, bins, 491, generator=torch.Generator().manual_seed(0)) * 12 - 35).clamp(-80, 0)
    values[3] = -7.0  # without contrast
    lengths = torch.tensor([490, 491] * 20)
    values = first_frames(values, lengths)
    expected = SpectrogramImage(bins)(values, lengths)
    image = SpectrogramImage(bins).cuda()
    found = image(values.cuda(), lengths.cuda())
    assert type(image._fast).__name__ == "PictureKernels"
    assert (found.cpu() - expected).abs().mean() < 1e-5
    assert (found.cpu() - expected).abs().max() < 0.05


def test_where_triton_does_not_work_the_pictures_are_the_same(monkeypatch, caplog):
    kernels = pytest.importorskip("worker.features.picture_triton")
    monkeypatch.setattr(kernels.PictureKernels, "forward", lambda *_: 1 / 0)
    lengths = torch.tensor([490, 491, 490])
    values = first_frames(torch.rand(3, 84, 491) * -80, lengths)
    found = SpectrogramImage(84).cuda()(values.cuda(), lengths.cuda())
    assert "Triton does not work here" in caplog.text
    assert (found.cpu() - SpectrogramImage(84)(values, lengths)).abs().mean() < 1e-5


@pytest.fixture
def pinned():
    """Pins memory until the test ends, however it does: where a part of other memory were pinned, later copies of that
    would fail."""
    with contextlib.ExitStack() as stack:

        def pinned(memory: np.ndarray) -> np.ndarray:
            stack.callback(pin(memory))
            return memory

        yield pinned


def load(name: str, device: str, amp: str = "off") -> Model:
    """A model on a device, with seeded weights where none are shipped."""
    if name == "musicnn":
        return checkpoints.load_model(checkpoints.find_checkpoint(name), device, amp)
    module = registry.import_model_module(registry.find_model(name))
    return checkpoints.assemble(
        None, module, checkpoints.build_with_weights(module, STATES[name]()), module.LABELS, device, amp
    )


def predict(model: Model, device: str, pcm: np.ndarray, native: NativeLayout | None = None) -> np.ndarray:
    engine, found = Engine(model, device, threads=1), []
    engine.submit(WindowRequest(pcm, lambda: None, lambda p: found.append(p.copy()), found.append, 490, native=native))
    engine.close()
    return found[0]


@pytest.mark.parametrize("name", ["musicnn", *STATES])
def test_the_engine_gives_the_same_probabilities(name):
    model = load(name, "cuda:0")
    pcm = music(7, model.window)
    assert np.abs(predict(model, "cuda:0", pcm) - predict(load(name, "cpu"), "cpu", pcm)).max() < 0.01


@pytest.mark.parametrize("name", ["musicnn", *STATES])
@pytest.mark.parametrize("amp", ["auto", "fp16"])
def test_mixed_precision_stays_close_to_float32(name, amp):
    lowered = load(name, "cuda:0", amp)
    assert lowered.dtype in ("bfloat16", "float16")
    pcm = music(40, lowered.window)
    assert np.abs(predict(lowered, "cuda:0", pcm) - predict(load(name, "cuda:0"), "cuda:0", pcm)).max() < 0.01


@pytest.mark.parametrize("name", STATES)
@torch.inference_mode()
def test_the_memory_of_a_batch_is_foreseen(name):
    model = load(name, "cuda:0", "auto")
    gpu = GpuExecutor(model, torch.device("cuda:0"), 0)
    foreseen, weights = profiler.profile(model, gpu, None), torch.cuda.memory_allocated()
    for batch in (3, 12, 24, 48, 96):
        _, peak_bytes = profiler._try(model, gpu, batch)
        assert (weights + foreseen.peak_bytes(batch)) / (weights + peak_bytes) == pytest.approx(1, abs=0.1), batch


def test_windows_are_copied_while_the_batch_before_them_is_computed_on(pinned):
    model = load("vit_b_16_mel", "cuda:0", "off")  # slow enough for the next batch to be staged and copied in that time
    engine, scored = Engine(model, "cuda:0", threads=1), []
    pcm = pinned(np.resize(music(16, model.window), (engine.counters.best, model.window)))  # a batch by itself
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True) as seen:
        for _ in range(12):
            engine.submit(WindowRequest(pcm, lambda: None, scored.append, scored.append, frames=490))
        engine.close()
    spans = [(event.name, event.time_range.start, event.time_range.end) for event in seen.events()]
    copies = [(start, end) for name, start, end in spans if "HtoD" in name and "Pinned" in name and end - start > 100]
    kernels = [(start, end) for name, start, end in spans if "Mem" not in name]
    overlapped = [any(a < end and start < b for a, b in kernels) for start, end in copies]
    assert len(scored) == 12
    assert len(copies) >= 6
    assert sum(overlapped) >= len(copies) / 2


@torch.inference_mode()
def test_a_third_batch_waits_for_the_first():
    model = load("vit_b_16_mel", "cuda:0", "off")  # slow enough for several batches to be started in that time
    gpu, batch = GpuExecutor(model, torch.device("cuda:0"), 0), profiler._noise(model, 48)
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


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 2), (22_050, 1), (44_100, 1)])
@pytest.mark.parametrize("name", ["musicnn", *STATES])
def test_regions_as_the_file_has_them_give_what_the_cpu_gives(name, rate, channels, pinned):
    cpu, gpu = load(name, "cpu"), load(name, "cuda:0")
    windowing = cpu.windowing()
    frames = int((windowing.region_windows * windowing.stride + windowing.window) / windowing.sample_rate * rate)
    mono = music(REGIONS, frames)
    pcm = pinned(np.stack([mono] * channels, 2))
    native = NativeLayout(rate, (0, 7, 300), windowing.region_windows, windowing.stride)
    found = [predict(model, device, pcm, native) for model, device in ((cpu, "cpu"), (gpu, "cuda:0"))]
    assert len(found[0]) == len(native)
    assert np.abs(found[0] - found[1]).max() < 0.01


def test_a_network_that_cannot_cast_itself_runs_under_autocast():
    plain = torch.nn.Linear(8, 8).cuda()
    assert precision.cast_to(plain, torch.bfloat16) is torch.bfloat16
    assert plain.weight.dtype == torch.float32
    assert plain(torch.ones(1, 8, device="cuda")).dtype == torch.bfloat16
