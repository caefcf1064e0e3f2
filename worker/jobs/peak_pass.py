"""A track whose windows wait until its loudest moment is known, which is 0 dB in a published spectrogram."""

import tempfile
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from worker.decode.pool import WindowBlock
from worker.errors import TrackError
from worker.inference.engine import Engine
from worker.inference.requests import WindowRequest

MEMORY_BYTES = 32 << 20  # of one track's windows; more go to a temporary file


class PeakSink(Protocol):
    """Who gets the windows in the end, a worker.decode.pool.Sink, and the track's peak before them."""

    peak: float

    def windows(self, block: "HeldBlock") -> None: ...

    def end(self) -> None: ...

    def failed(self, error: TrackError) -> None: ...


@dataclass(frozen=True, slots=True)
class HeldBlock:
    """Windows that were held: what worker.decode.pool.WindowBlock is to its sink."""

    pcm: np.ndarray  # int16 (windows, samples)
    frames: int
    release: Callable[[], None]
    native: None = None


class PeakPass:
    """A worker.decode.pool.Sink that asks the engine for the peaks of a track's windows, and hands them on afterwards,
    one block at a time."""

    def __init__(self, engine: Engine, scorer: PeakSink):
        self._engine, self._scorer = engine, scorer
        self._lock = threading.Lock()
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, prefix="genremill-")  # noqa: SIM115 (see _close)
        self._blocks: deque[tuple[tuple[int, int], int]] = deque()  # shape and frames
        self._waiting = 0  # windows in the engine
        self._peak = 0.0
        self._ended = self._over = False

    def windows(self, block: WindowBlock) -> None:
        """From the decoder."""
        if self._over:
            block.release()
            return
        with self._lock:
            self._waiting += len(block.pcm)
        if not block.edge:
            self._file.write(block.pcm.tobytes())
            self._blocks.append((block.pcm.shape, block.frames))
        self._engine.submit(
            WindowRequest(block.pcm, block.release, self._measured, self._fail, frames=block.frames, wants_peak=True)
        )

    def end(self) -> None:
        """From the decoder: that was all."""
        self._settle(ended=True)

    def failed(self, error: TrackError) -> None:
        """From the decoder: there will be no more."""
        self._fail(error)

    def _measured(self, peaks: np.ndarray) -> None:
        self._settle(peaks)

    def _settle(self, peaks: np.ndarray = np.zeros(0), ended: bool = False) -> None:  # noqa: B008 (never changed)
        with self._lock:
            self._waiting -= len(peaks)
            self._peak = max([self._peak, *peaks.tolist()])
            self._ended |= ended
            ready = self._ended and not self._waiting and not self._over
        if ready:
            self._scorer.peak = self._peak
            self._file.seek(0)
            self._hand_on()

    def _hand_on(self) -> None:
        """The next block; the one after it when this one is in the engine."""
        try:
            if not self._blocks:
                self._close()
                self._scorer.end()
                return
            shape, frames = self._blocks.popleft()
            pcm = np.empty(shape, np.int16)
            if self._file.readinto(pcm) != pcm.nbytes:
                raise OSError("the temporary file is shorter than what was written")
            self._scorer.windows(HeldBlock(pcm, frames, self._hand_on))
        except (OSError, ValueError) as error:
            self._fail(TrackError(f"its windows could not be kept until its loudest moment was known: {error}"))

    def _fail(self, error: TrackError) -> None:
        with self._lock:
            again, self._over = self._over, True
        if not again:
            self._close()
            self._scorer.failed(error)

    def _close(self) -> None:
        self._over = True
        self._file.close()
