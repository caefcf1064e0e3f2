"""The CPU and the GPU that predict a batch."""

import logging
from collections import deque
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worker.inference.batch import Batch, Waveforms
from worker.inference.batch_size import size_for
from worker.models.checkpoints import Model

IN_FLIGHT = 2  # batches on a GPU: one is computed on, and the next one copied

log = logging.getLogger(__name__)

Result = Callable[[], Tensor]  # waits for what was started, and gives it: in host memory


def compute(network: torch.nn.Module, waveforms: Tensor, frame_args: tuple[Tensor, ...], wants_peak: bool) -> Tensor:
    """Probabilities (windows, labels), or peaks (windows,), on the device that the waveforms are on: float32."""
    return (network.peak if wants_peak else network)(waveforms, *frame_args).float()


class CpuExecutor:
    """Predicts at once, in the thread that asks."""

    reads_in_place = False  # the tickets' memory, until there are results

    def __init__(self, model: Model):
        self._model, self._waveforms = model, Waveforms(model.sample_rate, model.window, torch.device("cpu"))
        torch.set_num_threads(1)

    def free_bytes(self) -> int:
        """Not looked at."""
        return 0

    def start(self, batch: Batch) -> Result:
        """Predict."""
        groups = list(batch.groups())
        there = [group.to(batch.slices[0].pcm.device) for group in groups]
        waveforms = self._waveforms(groups, there, len(batch))
        output = compute(self._model.network, waveforms, batch.frame_args, batch.wants_peak)
        return lambda: output

    def empty_cache(self) -> None:
        """There is none."""

    def check(self) -> None:
        """It is there."""


class GpuExecutor:
    """Predicts while the thread that asks goes on: from where the tickets have them, and on a stream of their own,
    windows are copied while the batch before them is computed on. A further batch waits for the first of the two, so
    that the memory of batches does not depend on how far the thread is ahead."""

    reads_in_place = True

    def __init__(self, model: Model, device: torch.device, margin_bytes: int):
        self._model, self._device, self._margin_bytes = model, device, margin_bytes
        self._waveforms = Waveforms(model.sample_rate, model.window, device)
        self._copying = torch.cuda.Stream(device)
        self._started: deque[torch.cuda.Event] = deque(maxlen=IN_FLIGHT)

    @cached_property
    def name(self) -> str:
        """The GPU's, as its maker calls it."""
        return torch.cuda.get_device_name(self._device)

    def free_bytes(self) -> int:
        """VRAM that a batch may use now that it may be started: what is free on the card, whoever uses the rest, and
        what this process's allocator keeps, less the margin. What it keeps goes back to the card when others leave less
        than the margin."""
        self._wait_for_room()
        free, _ = torch.cuda.mem_get_info(self._device)
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        if free < self._margin_bytes and kept:
            self.empty_cache()
            free, _ = torch.cuda.mem_get_info(self._device)
            kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return max(0, free + kept - self._margin_bytes)

    def start(self, batch: Batch) -> Result:
        """Begin to predict a batch, whose memory has to stay as it is until there are results. Raises a RuntimeError
        that is_out_of_memory() knows when it does not fit."""
        self._wait_for_room()
        computing, size = torch.cuda.current_stream(self._device), size_for(len(batch))
        with torch.cuda.stream(self._copying):
            groups = list(batch.groups())
            there = [group.to(self._device) for group in groups]
            frame_args = tuple(self._copy(values, size) for values in batch.frame_args)
        computing.wait_stream(self._copying)
        for values in (*there, *frame_args):
            values.record_stream(computing)
        waveforms = self._waveforms(groups, there, size)
        output = compute(self._model.network, waveforms, frame_args, batch.wants_peak)[: len(batch)]
        result = torch.empty(output.shape, pin_memory=True)
        result.copy_(output, non_blocking=True)
        done = torch.cuda.Event(blocking=True)
        done.record(computing)
        self._started.append(done)

        def wait() -> Tensor:
            done.synchronize()
            return result

        return wait

    def _wait_for_room(self) -> None:
        """Until fewer than IN_FLIGHT batches are on the GPU."""
        if len(self._started) == IN_FLIGHT:
            self._started[0].synchronize()

    def _copy(self, values: Tensor, size: int) -> Tensor:
        """The values (windows,) on the GPU, filled up with zeros to so many."""
        return F.pad(values, (0, size - len(values))).pin_memory().to(self._device, non_blocking=True)

    def empty_cache(self) -> None:
        """Give back to the card what the allocator keeps."""
        torch.cuda.empty_cache()

    def check(self) -> None:
        """Raises RuntimeError when the GPU does not answer any more: then nothing will work in this process."""
        torch.cuda.synchronize(self._device)


def pin(memory: np.ndarray) -> Callable[[], None]:
    """Let a GPU copy from this memory while it computes, until the result is called, which also keeps the memory. Where
    that cannot be, copies are slower."""
    cuda = torch.cuda.cudart()
    error = cuda.cudaHostRegister(memory.ctypes.data, memory.nbytes, 0)
    if int(error):
        log.warning("memory cannot be pinned, copies to the GPU will be slower: %s", error)
        return lambda: None

    def unpin() -> None:
        cuda.cudaHostUnregister(memory.ctypes.data)

    return unpin


OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "can't allocate memory")  # CUDA's, cuBLAS's and cuDNN's, the CPU's


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had too little memory."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)
