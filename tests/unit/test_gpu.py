"""What a GPU computes is what the CPU computes. Skipped where there is no GPU."""

import numpy as np
import pytest
import torch

from tests.seeded import seeded_state
from worker import checkpoints, models
from worker.checkpoints import Model
from worker.engine import Engine, Ticket
from worker.image import SpectrogramImage, first_frames
from worker.models import vgg, vit

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
    kernels = pytest.importorskip("worker.picture_kernels")
    monkeypatch.setattr(kernels.PictureKernels, "forward", lambda *_: 1 / 0)
    lengths = torch.tensor([490, 491, 490])
    values = first_frames(torch.rand(3, 84, 491) * -80, lengths)
    found = SpectrogramImage(84).cuda()(values.cuda(), lengths.cuda())
    assert "Triton does not work here" in caplog.text
    assert (found.cpu() - SpectrogramImage(84)(values, lengths)).abs().mean() < 1e-5


@pytest.mark.parametrize("name", ["musicnn", *STATES])
def test_the_engine_gives_the_same_probabilities(name):
    entry = models.find(name)
    module = models.load_module(entry)
    answers = {}
    for device in ("cpu", "cuda:0"):
        if name in STATES:
            network = checkpoints.fit(module, STATES[name]()).requires_grad_(False).to(device)
            model = Model(None, network, module.SAMPLE_RATE, module.WINDOW, module.LABELS, "", module.HOP)
        else:
            model = checkpoints.load(checkpoints.find(name), device)
        engine = Engine(model, device, lanes=1)
        pcm, found = music(7, module.WINDOW), []
        engine.submit(
            Ticket(pcm, lambda: None, lambda p, found=found: found.append(p.copy()), found.append, frames=490)
        )
        engine.close()
        answers[device] = found[0]
    assert answers["cpu"].shape == answers["cuda:0"].shape
    assert np.abs(answers["cpu"] - answers["cuda:0"]).max() < 0.01
