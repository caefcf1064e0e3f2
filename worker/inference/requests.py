"""Windows that wait for their probabilities, and the queue in which those of many tracks come together."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from worker.errors import UnclassifiableError
from worker.windowing import NativeLayout

QUIET_S = 0.001  # without any that came, when none is on its way: then there will be none
LOOK_S = 0.01  # between two looks whether any are on their way
IDLE_S = 10.0  # without any


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """Windows that wait for their probabilities, or for their peaks.

    frames and peak: of models that cut a track by frames (checkpoints.Model.hop), see models.ccmusic.PictureNetwork.
    """

    pcm: np.ndarray  # int16 (windows, samples), or as native says; readable until on_copied() is called
    on_copied: Callable[[], None]
    on_result: Callable[[np.ndarray], None]  # gets float32 (windows, labels); of peaks, (windows,)
    on_error: Callable[[UnclassifiableError], None]
    frames: int = 0
    peak: float = math.nan  # power; NaN: each window's own
    wants_peak: bool = False
    native: NativeLayout | None = None

    @property
    def windows(self) -> int:
        """How many."""
        return len(self.native or self.pcm)

    @property
    def layout_key(self) -> tuple:
        """What tickets have in common that a device can take together."""
        return (self.native.rate, *self.native.offsets, *self.pcm.shape) if self.native else ()


class RequestQueue:
    """First in, first out. idle: called each time that nothing came for IDLE_S. expecting: whether more is to come."""

    def __init__(self, idle: Callable[[], None], expecting: Callable[[], bool]):
        self._idle, self._expecting = idle, expecting
        self._requests: deque[WindowRequest] = deque()
        self._windows = 0
        self._wanted = 1  # windows, before which nobody has to be woken
        self._changed = threading.Condition()
        self._closed = False

    def put(self, request: WindowRequest) -> None:
        """Queue windows. Raises RuntimeError after close()."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the engine is closed")
            self._requests.append(request)
            self._windows += request.windows
            if self._windows >= self._wanted:
                self._changed.notify()

    def close(self) -> None:
        """No more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, most: int, gather_s: float = 0.0) -> list[WindowRequest]:
        """The oldest tickets, of at most so many windows unless the first alone has more; none when the queue is closed
        and empty. Waits for a first one, and up to gather_s for others that are on their way."""
        with self._changed:
            while not self._changed.wait_for(lambda: self._requests or self._closed, IDLE_S):
                self._idle()
            self._gather(most, gather_s)
            batch, windows = [], 0
            while self._requests and (not batch or self._goes_with(batch[0], windows, most)):
                batch.append(self._requests.popleft())
                windows += batch[-1].windows
            self._windows -= windows
            return batch

    def _gather(self, most: int, gather_s: float) -> None:
        deadline, seen = time.monotonic() + gather_s, 0
        self._wanted = most
        while self._windows < most and not self._closed:
            left_s, expecting = deadline - time.monotonic(), self._expecting()
            if left_s <= 0 or (seen == self._windows and not expecting):
                break
            seen = self._windows
            self._changed.wait_for(
                lambda: self._windows >= most or self._closed, min(LOOK_S if expecting else QUIET_S, left_s)
            )
        self._wanted = 1

    def _goes_with(self, first: WindowRequest, windows: int, most: int) -> bool:
        following = self._requests[0]
        return following.wants_peak == first.wants_peak and windows + following.windows <= most
