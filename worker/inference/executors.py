"""Executors: the CPU and the GPU that predict a batch."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import ClassVar, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from worker.inference.batch import Batch, SliceGroup, WaveformBuilder
from worker.inference.batch_size import padded_size
from worker.models import checkpoints
from worker.models.checkpoints import Model
from worker.models.interface import EmbeddingNetwork

MAX_IN_FLIGHT = 2  # Batches on a GPU at a time: one is computed while the next one is copied.

# What the errors of a full device say: of CUDA; of cuBLAS and cuDNN; of the CPU.
OUT_OF_MEMORY_MESSAGES = ("out of memory", "ALLOC_FAILED", "can't allocate memory")

log = logging.getLogger(__name__)

Result = Callable[[], Tensor]  # Waits for a batch, and returns its answer: float32, on the CPU, see Executor.start().


class Executor(Protocol):
    """A device that predicts batches."""

    reads_in_place: ClassVar[bool]  # Whether it reads the requests' own memory, until the result was waited for.

    def free_bytes(self) -> int:
        """The VRAM in bytes that the next batch may use."""
        ...

    def start(self, batch: Batch) -> Result:
        """Begin to predict a batch.

        The result is a function that waits for the answer, see compute(). The batch's memory must not change before it
        returns. Raises a RuntimeError for which is_out_of_memory() is true when the batch does not fit, and whatever
        the model raises.
        """
        ...

    def empty_cache(self) -> None:
        """Give memory back that is kept for later batches."""
        ...

    def check(self) -> None:
        """Raises RuntimeError when the device does not answer any more: then nothing will work in this process."""
        ...


class PeakNetwork(Protocol):
    """A network that can tell the greatest power of windows, as models must whose Model.hop is not 0."""

    def peak(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """The greatest power (windows,) in the first `lengths` (windows,) frames of each window."""
        ...


def compute(model: Model, waveforms: Tensor, frame_args: Sequence[Tensor], wants_peak: bool) -> Tensor:
    """The answer of a model on the waveforms' device, float32: probabilities (windows, labels), or peaks (windows,).

    Where embeddings are wanted, each window's embedding stands behind its probabilities in the same row, so that all
    of a batch's answer is one copy: (windows, labels + Model.embedding_size).
    waveforms: float32 (windows, window samples). frame_args, wants_peak: see Batch.
    """
    if model.embedding_size and not wants_peak:
        network = cast(EmbeddingNetwork, model.network)
        probabilities, embeddings = network.forward_with_embedding(waveforms, *frame_args)
        return torch.cat([probabilities.float(), embeddings.float()], 1)
    run = cast(PeakNetwork, model.network).peak if wants_peak else model.network
    output: Tensor = run(waveforms, *frame_args)
    return output.float()


class CpuExecutor:
    """Predicts on the CPU in the calling thread, before start() returns. Several threads may call it at once.

    Makes torch use a single thread for each of them, in the whole process.
    """

    reads_in_place: ClassVar[bool] = False

    def __init__(self, model: Model) -> None:
        self._model, self._device = model, torch.device("cpu")
        self._waveform_builder = WaveformBuilder(model.sample_rate, model.window, self._device)
        torch.set_num_threads(1)

    def free_bytes(self) -> int:
        """Always 0, since a CPU's batches need no VRAM."""
        return 0

    def start(self, batch: Batch) -> Result:
        """Predict a batch, see Executor. The answer is there when this returns."""
        groups = list(batch.groups())
        group_pcm = [group.copy_pcm(self._device) for group in groups]
        waveforms = self._waveform_builder.build(groups, group_pcm, len(batch))
        output = compute(self._model, waveforms, batch.frame_args, batch.wants_peak)
        return lambda: output

    def empty_cache(self) -> None:
        """Does nothing, since a CPU keeps no memory for later batches."""

    def check(self) -> None:
        """Does nothing, since a CPU always answers."""


def load_cpu_executor(model: Model) -> CpuExecutor:
    """An executor that predicts with the same weights on the CPU in float32, whatever device `model` is on.

    It gives the same answers: embeddings too, if `model` does.
    """
    embeddings = "on" if model.embedding_size else "off"
    return CpuExecutor(checkpoints.load_model(model.checkpoint, "cpu", embeddings=embeddings))


class GpuExecutor:
    """Predicts on a GPU while the calling thread goes on.

    Windows are copied on a stream of their own, straight from the requests' memory, while the batch before them is
    computed. A third batch waits for the first, so that the VRAM in use does not depend on how fast batches are
    started. One thread calls start() and free_bytes(); others may wait for results.
    """

    reads_in_place: ClassVar[bool] = True

    def __init__(self, model: Model, device: torch.device, margin_bytes: int) -> None:
        """margin_bytes: VRAM that is left free for others."""
        self._model, self._device, self._margin_bytes = model, device, margin_bytes
        self._waveform_builder = WaveformBuilder(model.sample_rate, model.window, device)
        self._copy_stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch gives it no types
        # The events that mark the ends of the batches started last.
        self._started: deque[torch.cuda.Event] = deque(maxlen=MAX_IN_FLIGHT)

    @cached_property
    def name(self) -> str:
        """The GPU's name, as its maker calls it."""
        return torch.cuda.get_device_name(self._device)

    def free_bytes(self) -> int:
        """The VRAM in bytes that the next batch may use, once it may be started.

        That is what is free on the card, and what this process's allocator keeps unused, less the margin. When others
        leave less than the margin free, what the allocator keeps goes back to the card.
        """
        self._wait_for_room()
        free, kept = self._card_free_bytes(), self._kept_bytes()
        if free < self._margin_bytes and kept:
            self.empty_cache()
            free, kept = self._card_free_bytes(), self._kept_bytes()
        return max(0, free + kept - self._margin_bytes)

    def _card_free_bytes(self) -> int:
        """The VRAM in bytes that no process uses."""
        free, _ = torch.cuda.mem_get_info(self._device)
        return free

    def _kept_bytes(self) -> int:
        """The VRAM in bytes that this process's allocator keeps for later batches."""
        return torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)

    def start(self, batch: Batch) -> Result:
        """Begin to predict a batch, see Executor. Waits while MAX_IN_FLIGHT batches are on the GPU."""
        self._wait_for_room()
        size, groups = padded_size(len(batch)), list(batch.groups())
        group_pcm, frame_args = self._copy_to_gpu(batch, groups, size)
        waveforms = self._waveform_builder.build(groups, group_pcm, size)
        output = compute(self._model, waveforms, frame_args, batch.wants_peak)[: len(batch)]
        return self._copy_to_host(output)

    def _wait_for_room(self) -> None:
        """Wait until fewer than MAX_IN_FLIGHT batches are on the GPU."""
        if len(self._started) == MAX_IN_FLIGHT:
            self._started[0].synchronize()

    def _copy_to_gpu(
        self, batch: Batch, groups: Sequence[SliceGroup], size: int
    ) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """The PCM of each group, and the frame_args filled up with zeros to `size`. Computing waits for the copies."""
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._copy_stream):
            group_pcm = [group.copy_pcm(self._device) for group in groups]
            frame_args = tuple(
                F.pad(values, (0, size - len(values))).pin_memory().to(self._device, non_blocking=True)
                for values in batch.frame_args
            )
        computing.wait_stream(self._copy_stream)
        for values in (*group_pcm, *frame_args):
            values.record_stream(computing)
        return group_pcm, frame_args

    def _copy_to_host(self, output: Tensor) -> Result:
        """Begin to copy a batch's answer to the CPU. Returns the function that waits for it."""
        answer = torch.empty(output.shape, pin_memory=True)
        answer.copy_(output, non_blocking=True)
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch gives it no types
        done.record(torch.cuda.current_stream(self._device))
        self._started.append(done)

        def wait() -> Tensor:
            done.synchronize()
            return answer

        return wait

    def empty_cache(self) -> None:
        """Give back to the card what the allocator keeps."""
        torch.cuda.empty_cache()

    def check(self) -> None:
        """Raises RuntimeError when the GPU does not answer any more: then nothing will work in this process."""
        torch.cuda.synchronize(self._device)


def pin(memory: npt.NDArray[np.int16]) -> Callable[[], None]:
    """Let a GPU copy from this memory while it computes. Returns the function that ends this.

    That function also keeps the memory alive. Where memory cannot be pinned, copies are only slower.
    """
    cuda = torch.cuda.cudart()  # type: ignore[no-untyped-call]  # torch gives it no types
    error = cuda.cudaHostRegister(memory.ctypes.data, memory.nbytes, 0)
    if int(error):
        log.warning("memory cannot be pinned, copies to the GPU will be slower: %s", error)
        return lambda: None

    def unpin() -> None:
        cuda.cudaHostUnregister(memory.ctypes.data)

    return unpin


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that a device had too little memory."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    return any(message in str(error) for message in OUT_OF_MEMORY_MESSAGES)
