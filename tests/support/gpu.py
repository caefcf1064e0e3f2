"""What the tests on a real GPU share. All of them are skipped where there is no GPU."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from genremill.bench.random_weights import load_random_model
from worker.inference.engine import Engine
from worker.inference.requests import WindowRequest
from worker.models import checkpoints
from worker.models.checkpoints import Model
from worker.windowing import NativeLayout

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

PICTURE_MODELS = ["vit_b_16_mel", "vgg19_bn_cqt"]  # Models that get seeded weights, because none are shipped.
MODELS = ["musicnn", *PICTURE_MODELS]


def chords(windows: int, samples: int) -> npt.NDArray[np.int16]:
    """Windows that all differ, (windows, samples): each is a tone of its own in noise."""
    time, random = np.arange(samples) / 22_050, np.random.default_rng(0)
    waves = [
        np.sin(2 * np.pi * hz * time) * 0.3 + random.normal(0, 0.05, samples) for hz in range(50, 50 + 90 * windows, 90)
    ]
    return np.stack([np.rint(wave * 16_000).astype(np.int16) for wave in waves])


def load_model(name: str, device: str, amp: str = "off") -> Model:
    """A model on a device, with seeded weights where none are shipped."""
    if name in PICTURE_MODELS:
        return load_random_model(name, device, amp)
    return checkpoints.load_model(checkpoints.find_checkpoint(name), device, amp)


def predict(
    model: Model, device: str, pcm: npt.NDArray[np.int16], native: NativeLayout | None = None
) -> npt.NDArray[np.float32]:
    """The probabilities (windows, labels) of one request, from a new engine."""
    engine, answers = Engine.start(model, device, threads=1), []
    cut = model.windowing().frame_cut
    engine.submit(
        WindowRequest(pcm, lambda: None, lambda p: answers.append(p.copy()), answers.append, cut, native=native)
    )
    engine.close()
    return answers[0]
