"""Parts for tests of jobs: a network whose results are plain to see, and blocks of windows."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from tests.integration.rows import GENRES
from worker.inference.engine import Engine
from worker.models import checkpoints
from worker.models.checkpoints import Model
from worker.windowing import FrameCut, NativeLayout

RATE_HZ = 16_000


class FirstSamples(torch.nn.Module):
    """A network whose probabilities are the first samples of a window, one for each genre."""

    def forward(self, waveform):
        return waveform[:, : len(GENRES)]


@dataclass
class FakeBlock:
    """A block of windows, as the decode pool delivers it, that counts how often it is released."""

    pcm: npt.NDArray[np.int16]
    cut: FrameCut | None = None
    native: NativeLayout | None = None
    releases: list[None] = field(default_factory=list)

    def release(self):
        self.releases.append(None)


def windows_of(*probabilities):
    """A block with a window for each of these: probabilities in 1/32768, one for each genre, then silence."""
    pcm = np.zeros((len(probabilities), 8), np.int16)
    pcm[:, : len(GENRES)] = probabilities
    return FakeBlock(pcm)


def start_engine(network, window_samples, embedding_size=0):
    checkpoint = checkpoints.find_checkpoint("musicnn")
    model = Model(checkpoint, network, RATE_HZ, window_samples, GENRES, "{}", embedding_size=embedding_size)
    return Engine.start(model, "cpu", threads=2)
