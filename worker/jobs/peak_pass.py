"""Holds the windows of a track back until the loudest moment of the whole track is known.

Some published systems express a spectrogram in decibels relative to the peak of the whole track: its loudest moment is
0 dB. So a track is read in two passes: the first one asks the engine for the peak of every window, while copies of the
windows are held. The second one predicts the held windows, and tells the engine the track's peak with them.
"""

import tempfile
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from worker.decode.sink import WindowBlock
from worker.errors import TrackError
from worker.inference.requests import WindowRequest
from worker.jobs.track_sink import Block, TrackSink
from worker.windowing import FrameCut

MEMORY_BYTES = 32 << 20  # Bytes of one track's windows that are held in memory. More go to a temporary file.


class PeakSink(Protocol):
    """What takes the windows in the second pass: worker.jobs.track_sink.TrackSink."""

    peak: float | None  # Power that counts as 0 dB. It is set before windows() is called for the first time.

    @property
    def finished(self) -> bool:
        """Whether it wants no more windows."""

    def windows(self, block: Block) -> None:
        """Some windows of the track, in order."""

    def end(self) -> None:
        """Those were all."""

    def failed(self, error: TrackError) -> None:
        """The track cannot be analysed."""


@dataclass(frozen=True, slots=True)
class HeldBlock:
    """Some windows in the second pass. It has what worker.decode.sink.WindowBlock has for the first one."""

    pcm: npt.NDArray[np.int16]  # (windows, samples)
    cut: FrameCut | None
    release: Callable[[], None]
    native: None = None


class HeldWindows:
    """A queue of blocks in one temporary file, which stays in memory up to memory_bytes. Threads may share it.

    After close() the file is gone: put() keeps nothing, and take() finds nothing.
    """

    def __init__(self, memory_bytes: int) -> None:
        self._lock = threading.Lock()
        self._file = tempfile.SpooledTemporaryFile(memory_bytes, prefix="genremill-")  # noqa: SIM115 (close() does)
        self._blocks: deque[tuple[int, tuple[int, ...], FrameCut | None]] = deque()  # position in the file, shape, cut

    def put(self, block: WindowBlock) -> None:
        """Keep a copy of the block's windows. Raises OSError when the file cannot be written."""
        with self._lock:
            if not self._file.closed:
                self._blocks.append((self._file.tell(), block.pcm.shape, block.cut))
                self._file.write(block.pcm.tobytes())

    def take(self) -> tuple[npt.NDArray[np.int16], FrameCut | None] | None:
        """The windows of the oldest block and how they are cut, or None when no block is left.

        Raises OSError when the file cannot be read.
        """
        with self._lock:
            if self._file.closed or not self._blocks:
                return None
            position, shape, cut = self._blocks.popleft()
            pcm = np.empty(shape, np.int16)
            self._file.seek(position)
            if self._file.readinto(pcm.data) != pcm.nbytes:
                raise OSError("the temporary file is shorter than what was written")
            return pcm, cut

    def close(self) -> None:
        """Drop what is held."""
        with self._lock:
            self._file.close()


class PeakPass:
    """A worker.decode.sink.Sink that measures a track's peak, and hands the track's windows on afterwards.

        first pass ── the peaks of all windows are known ──> second pass, one block after the other ──> end()
            └──────── an error ────────────────────────────> failed() of the second pass, once

    Windows at the edges of a track (FrameCut.edge) count for the peak alone. In the second pass, a block is read
    from the file when the engine has released the one before it, so that one block at most is in memory.

    submit: gives windows to the engine: Engine.submit.
    second_pass: gets the windows in the end.
    memory_bytes: how much of them is held in memory, see HeldWindows.
    """

    def __init__(
        self, submit: Callable[[WindowRequest], None], second_pass: PeakSink, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._second_pass = second_pass
        self._held = HeldWindows(memory_bytes)
        self._peak = 0.0
        self._first_pass = TrackSink(submit, self._add_peaks, self._finish_first_pass, wants_peak=True)

    def windows(self, block: WindowBlock) -> None:
        """Some windows of the track, from the decoder."""
        if block.cut is None or not block.cut.edge:
            self._held.put(block)
        self._first_pass.windows(block)

    def end(self) -> None:
        """The decoder has delivered all windows of the track."""
        self._first_pass.end()

    def failed(self, error: TrackError) -> None:
        """The track cannot be read."""
        self._first_pass.failed(error)

    def _add_peaks(self, peaks: npt.NDArray[np.float32]) -> None:
        self._peak = max([self._peak, *peaks.tolist()])

    def _finish_first_pass(self, error: TrackError | None) -> None:
        if error is None:
            self._second_pass.peak = self._peak
            self._hand_on_next_block()
        else:
            self._fail(error)

    def _hand_on_next_block(self) -> None:
        """Give the second pass a block, or end it. The engine calls this again when it has released the block."""
        try:
            held = self._held.take()
        except OSError as error:
            self._fail(TrackError(f"its windows could not be kept until its loudest moment was known: {error}"))
            return
        if held is None or self._second_pass.finished:
            self._held.close()
            self._second_pass.end()
        else:
            pcm, cut = held
            self._second_pass.windows(HeldBlock(pcm, cut, release=self._hand_on_next_block))

    def _fail(self, error: TrackError) -> None:
        self._held.close()
        self._second_pass.failed(error)
