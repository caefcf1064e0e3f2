"""A simulated GPU, and requests that note what they are told."""

import threading
from functools import partial

import numpy as np
import torch

from worker.errors import UnclassifiableError
from worker.inference.batch_size import BATCH_SIZES, BatchCost, Profile, padded_size
from worker.inference.engine import Engine
from worker.inference.executors import CpuExecutor
from worker.inference.requests import WindowRequest
from worker.models.checkpoints import Checkpoint, Model

SAMPLES = 4  # Of a window.
POISON = 32_000  # A window that begins with it breaks the batch it is in, when its results are read.
# Costs of batches up to 32 windows: one byte a window, so that free bytes are windows.
PROFILE = Profile(tuple(BatchCost(size, 0.01 + size * 1e-3, size) for size in BATCH_SIZES[:7]))


class Mirror(torch.nn.Module):
    """Gives the first two samples of each window back."""

    def forward(self, waveform):
        return waveform[:, :2] * 32_768


def model_of(network, **options) -> Model:
    return Model(Checkpoint("mirror", "1", None, ""), network, 8, SAMPLES, (), "", **options)


MIRROR = model_of(Mirror())


class SimulatedGpu(CpuExecutor):
    """A GPU whose free memory changes at every look, and may be less when a batch is started after a look.

    free: the bytes that are free at each look, over and over.
    """

    reads_in_place = True

    def __init__(self, free, model=MIRROR):
        super().__init__(model)
        self._free, self._looks = free, 0
        self._lock = threading.Lock()

    def free_bytes(self):
        with self._lock:
            self._looks += 1
            return self._free[self._looks % len(self._free)]

    def start(self, batch):
        if padded_size(len(batch)) > self.free_bytes():
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        output = super().start(batch)()

        def wait():
            if any((slice_.used_pcm[:, 0] == POISON).any() for slice_ in batch.slices):
                raise RuntimeError("the kernel did not like it")
            return output

        return wait


def simulated_engine(gpu, model=MIRROR, measure=lambda: PROFILE, **options) -> Engine:
    """An engine on a simulated GPU, beside a CPU that predicts as MIRROR does."""
    options = {"gather_s": 0.001, "load_cpu_executor": lambda _: CpuExecutor(MIRROR), **options}
    return Engine(model, "cuda:0", gpu, measure, **options)


class Requests:
    """Requests of some windows each, which note what they are told.

    sizes: windows of each request. poisoned: numbers of the requests whose first window breaks its batch.
    """

    def __init__(self, sizes, poisoned=()):
        self.pcm = [np.full((size, SAMPLES), number, np.int16) for number, size in enumerate(sizes)]
        for number in poisoned:
            self.pcm[number % len(sizes)][0] = POISON
        self.copied: list[int] = []  # numbers of the requests whose on_copied was called
        self.answers: list[list] = [[] for _ in sizes]  # of each request, everything it was told

    def __iter__(self):
        for number, pcm in enumerate(self.pcm):
            answers = self.answers[number]
            yield WindowRequest(
                pcm, partial(self.copied.append, number), lambda p, a=answers: a.append(p.copy()), answers.append
            )

    def answered_once(self, number) -> bool:
        """Whether a request got exactly its own windows' answer."""
        (answer,) = self.answers[number]
        return np.array_equal(answer, self.pcm[number][:, :2])

    def refused_once(self, number) -> bool:
        """Whether a request got exactly one error."""
        (answer,) = self.answers[number]
        return isinstance(answer, UnclassifiableError)
