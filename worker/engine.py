"""The engine owns one device: windows in, probabilities out. Windows of many tracks and jobs share a batch."""

import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worker.checkpoints import Model
from worker.errors import Unclassifiable

CPU_BATCH = 9  # windows; on a CPU small batches stay in its caches
GPU_BATCH = 256  # windows
PCM_SCALE = 1 / 32_768  # int16 to [-1, 1)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ticket:
    """Windows that wait for their probabilities, or for their peaks.

    frames and peak: of models that cut a track by frames (checkpoints.Model.hop), see models.ccmusic.PictureNetwork.
    """

    pcm: np.ndarray  # int16 (windows, samples), readable until taken() is called
    taken: Callable[[], None]
    scored: Callable[[np.ndarray], None]  # gets float32 (windows, labels); of peaks, (windows,)
    refused: Callable[[Unclassifiable], None]
    frames: int = 0
    peak: float = math.nan  # power; NaN: each window's own
    wants_peak: bool = False


class Engine:
    """Predicts on one device, in `lanes` threads: one on a GPU, one per core on a CPU, each single-threaded there."""

    def __init__(self, model: Model, device: str, lanes: int):
        self.model = model
        self.device = torch.device(device)
        self.batch = CPU_BATCH if self.device.type == "cpu" else GPU_BATCH
        if self.device.type == "cpu":
            torch.set_num_threads(1)
        self._tickets: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._lanes = [threading.Thread(target=self._work, name=f"engine-{i}", daemon=True) for i in range(lanes)]
        for lane in self._lanes:
            lane.start()

    def submit(self, ticket: Ticket) -> None:
        """Queue windows. `taken` and then `scored` or `refused` are called from an engine thread."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the engine is closed")
            self._tickets.append(ticket)
            self._changed.notify()

    def close(self) -> None:
        """Predict what was submitted, then stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for lane in self._lanes:
            lane.join()

    def _work(self) -> None:
        while tickets := self._take():
            try:
                self._predict(tickets)
            except Exception:
                log.exception("a callback of the engine failed")

    def _take(self) -> list[Ticket]:
        """The tickets of the next batch, oldest first; none when the engine is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._tickets or self._closed)
            taken, windows = [], 0
            while self._tickets and (not taken or self._goes_with(self._tickets[0], taken[0], windows)):
                taken.append(self._tickets.popleft())
                windows += len(taken[-1].pcm)
            return taken

    def _goes_with(self, ticket: Ticket, first: Ticket, windows: int) -> bool:
        return ticket.wants_peak == first.wants_peak and windows + len(ticket.pcm) <= self.batch

    def _predict(self, tickets: list[Ticket]) -> None:
        pcm = np.concatenate([ticket.pcm for ticket in tickets])
        for ticket in tickets:
            ticket.taken()
        try:
            results = self._forward(pcm, tickets)
        except RuntimeError as error:
            log.exception("a batch of %d windows failed", len(pcm))
            for ticket in tickets:
                ticket.refused(Unclassifiable(f"the model {self.model.checkpoint.name} failed on it: {error}"))
            return
        start = 0
        for ticket in tickets:
            ticket.scored(results[start : start + len(ticket.pcm)])
            start += len(ticket.pcm)

    @torch.inference_mode()
    def _forward(self, pcm: np.ndarray, tickets: list[Ticket]) -> np.ndarray:
        network = self.model.network
        function = network.peak if tickets[0].wants_peak else network
        batches = zip(torch.from_numpy(pcm).split(self.batch), *self._framing(tickets), strict=False)
        outputs = [
            function(windows.to(self.device) * PCM_SCALE, *(values.to(self.device) for values in framing))
            for windows, *framing in batches
        ]
        return torch.cat([output.float().cpu() for output in outputs]).numpy()

    def _framing(self, tickets: list[Ticket]) -> list[tuple[Tensor, ...]]:
        """What the network is told of each window beside its samples, in batches: frames, and the peaks."""
        if not self.model.hop:
            return []
        counts = torch.tensor([len(ticket.pcm) for ticket in tickets])
        frames = torch.tensor([ticket.frames for ticket in tickets]).repeat_interleave(counts)
        if tickets[0].wants_peak:
            return [frames.split(self.batch)]
        peaks = torch.tensor([ticket.peak for ticket in tickets], dtype=torch.float32).repeat_interleave(counts)
        return [frames.split(self.batch), peaks.split(self.batch)]
