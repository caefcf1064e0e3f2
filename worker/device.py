"""What a batch is, and the CPU and the GPU that predict one."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from queue import SimpleQueue

import numpy as np
import torch
from torch import Tensor

from worker.batching import size_for
from worker.checkpoints import Model
from worker.tickets import Ticket

PCM_SCALE = 1 / 32_768  # int16 to [-1, 1)
STAGES = 3  # pinned buffers: one is filled, one is copied and computed on, one's results are read
STAGED = 48  # windows that each has room for from the start: pinning memory takes long


@dataclass(frozen=True)
class Batch:
    """Windows in host memory, and what the network is told of each beside its samples."""

    pcm: Tensor  # int16 (windows, samples)
    framing: tuple[Tensor, ...] = ()  # (windows,) each: frames, and peaks
    wants_peak: bool = False

    def __len__(self) -> int:
        return len(self.pcm)

    def part(self, begin: int, end: int) -> "Batch":
        """Some of the windows."""
        return Batch(self.pcm[begin:end], tuple(values[begin:end] for values in self.framing), self.wants_peak)


def make_batch(tickets: Sequence[Ticket], pcm: Tensor, framed: bool) -> Batch:
    """The tickets' windows as one batch, copied into pcm: int16 (windows at least, samples)."""
    counts = [len(ticket.pcm) for ticket in tickets]
    at = 0
    for ticket, count in zip(tickets, counts, strict=True):
        np.copyto(pcm[at : at + count].numpy(), ticket.pcm)
        at += count
    wants_peak = tickets[0].wants_peak
    framing = ()
    if framed:
        repeats = torch.tensor(counts)
        framing = (torch.tensor([ticket.frames for ticket in tickets]).repeat_interleave(repeats),)
        if not wants_peak:
            peaks = torch.tensor([ticket.peak for ticket in tickets], dtype=torch.float32)
            framing = (*framing, peaks.repeat_interleave(repeats))
    return Batch(pcm[:at], framing, wants_peak)


def compute(network: torch.nn.Module, batch: Batch) -> Tensor:
    """Probabilities (windows, labels), or peaks (windows,), on the device that the batch is on: float32."""
    function = network.peak if batch.wants_peak else network
    return function(batch.pcm * PCM_SCALE, *batch.framing).float()


log = logging.getLogger(__name__)

Result = Callable[[], Tensor]  # waits for what was started, and gives it: in host memory


class Cpu:
    """Predicts at once, in the thread that asks."""

    def __init__(self, model: Model):
        self._model = model
        torch.set_num_threads(1)

    def stage(self, tickets: Sequence[Ticket]) -> tuple[Batch, Callable[[], None]]:
        """The tickets' windows as a batch, and what to call when its memory may be used again."""
        windows = sum(len(ticket.pcm) for ticket in tickets)
        pcm = torch.empty(windows, tickets[0].pcm.shape[1], dtype=torch.int16)
        return make_batch(tickets, pcm, bool(self._model.hop)), lambda: None

    def free_bytes(self) -> int:
        """Not looked at."""
        return 0

    def start(self, batch: Batch) -> Result:
        """Predict."""
        output = compute(self._model.network, batch)
        return lambda: output

    def empty_cache(self) -> None:
        """There is none."""

    def check(self) -> None:
        """It is there."""


class Gpu:
    """Predicts while the thread that asks goes on: from pinned memory and on a stream of their own, windows are copied
    while the batch before them is computed on."""

    def __init__(self, model: Model, device: torch.device, margin_bytes: int):
        self._model, self._device, self._margin_bytes = model, device, margin_bytes
        self._copying = torch.cuda.Stream(device)
        self._stages: SimpleQueue[Tensor] = SimpleQueue()
        for _ in range(STAGES):
            self._stages.put(_pinned(STAGED * model.window))

    @cached_property
    def name(self) -> str:
        """The GPU's, as its maker calls it."""
        return torch.cuda.get_device_name(self._device)

    def stage(self, tickets: Sequence[Ticket]) -> tuple[Batch, Callable[[], None]]:
        """As of a Cpu, in pinned memory. Waits while STAGES batches are on their way."""
        windows, samples = sum(len(ticket.pcm) for ticket in tickets), tickets[0].pcm.shape[1]
        buffer = self._stages.get()
        if buffer.numel() < windows * samples:
            buffer = _pinned(size_for(windows) * samples)
        pcm = buffer[: windows * samples].view(windows, samples)
        return make_batch(tickets, pcm, bool(self._model.hop)), lambda: self._stages.put(buffer)

    def free_bytes(self) -> int:
        """VRAM that a batch may use now: what is free on the card, whoever uses the rest, and what this process's
        allocator keeps, less the margin. What it keeps goes back to the card when others leave less than the margin."""
        free, _ = torch.cuda.mem_get_info(self._device)
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        if free < self._margin_bytes and kept:
            self.empty_cache()
            free, _ = torch.cuda.mem_get_info(self._device)
            kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return max(0, free + kept - self._margin_bytes)

    def start(self, batch: Batch) -> Result:
        """Begin to predict a batch in pinned memory. Raises a RuntimeError that is_out_of_memory() knows when it does
        not fit."""
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._copying):
            there = Batch(self._copy(batch.pcm), tuple(map(self._copy, batch.framing)), batch.wants_peak)
        computing.wait_stream(self._copying)
        for values in (there.pcm, *there.framing):
            values.record_stream(computing)
        output = compute(self._model.network, there)[: len(batch)]
        result = torch.empty(output.shape, pin_memory=True)
        result.copy_(output, non_blocking=True)
        done = torch.cuda.Event(blocking=True)
        done.record(computing)

        def wait() -> Tensor:
            done.synchronize()
            return result

        return wait

    def _copy(self, values: Tensor) -> Tensor:
        """The values (windows, ...) on the GPU, filled up with zeros to a size of batching.SIZES."""
        there = torch.empty(size_for(len(values)), *values.shape[1:], dtype=values.dtype, device=self._device)
        there[: len(values)].copy_(values, non_blocking=True)
        there[len(values) :].zero_()
        return there

    def empty_cache(self) -> None:
        """Give back to the card what the allocator keeps."""
        torch.cuda.empty_cache()

    def check(self) -> None:
        """Raises RuntimeError when the GPU does not answer any more: then nothing will work in this process."""
        torch.cuda.synchronize(self._device)


def _pinned(samples: int) -> Tensor:
    """Memory to stage windows in; of the common kind, which is slower to copy, where no more can be pinned."""
    try:
        return torch.empty(samples, dtype=torch.int16, pin_memory=True)
    except RuntimeError as error:
        log.warning("memory cannot be pinned, copies to the GPU will be slower: %s", error)
        return torch.empty(samples, dtype=torch.int16)


OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "can't allocate memory")  # CUDA's, cuBLAS's and cuDNN's, the CPU's


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had too little memory."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)
