"""Requests: windows that wait for their probabilities, and the queue that collects requests of many tracks."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.errors import UnclassifiableError
from worker.windowing import FrameCut, NativeLayout

LAST_REQUEST_WAIT_S = (
    0.001  # Seconds without a new request after which a batch starts, when no windows are on their way.
)
EXPECTED_CHECK_S = 0.01  # Seconds between two checks whether more windows are still on their way.
IDLE_S = 10.0  # Seconds without any request after which the queue calls `on_idle`.


def make_layout_key(shape: Sequence[int], native: NativeLayout | None) -> tuple[int, ...]:
    """How windows lie in memory, as a key that can be sorted. PCM with equal keys is made into windows together.

    Batches are sorted by this key, so that equal layouts lie side by side. shape: of the PCM. Plain windows always
    have the key (), since a device scales them and does nothing else.
    """
    if native is None:
        return ()
    return (native.rate, native.windows, native.stride, *native.offsets, *shape)


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """Windows of one track that wait for their probabilities, or for their peaks.

    pcm: int16, either plain windows (windows, samples) at the model's rate, or regions (regions, frames, channels) at
    the file's rate, whose windows `native` describes. It must stay unchanged until on_copied is called.
    on_copied: called when pcm is no longer read. on_result: called afterwards with float32 probabilities
    (windows, labels), followed by the embeddings of the windows where they are wanted, see executors.compute(); or with
    peaks (windows,). on_error: called instead of on_result when the model fails on the windows.
    All three are called from threads of the engine. on_result gets a view of the whole batch's answers: keep a copy.
    cut: how each window is cut by frames; None for models without a hop.
    wants_peak: whether the answer is each window's greatest power instead of its probabilities.
    native: None for plain windows.
    """

    pcm: npt.NDArray[np.int16]
    on_copied: Callable[[], None]
    on_result: Callable[[npt.NDArray[np.float32]], None]
    on_error: Callable[[UnclassifiableError], None]
    cut: FrameCut | None = None
    wants_peak: bool = False
    native: NativeLayout | None = None

    @property
    def windows(self) -> int:
        """The number of windows."""
        return len(self.pcm) if self.native is None else len(self.native)

    @property
    def layout_key(self) -> tuple[int, ...]:
        """The key by which requests are sorted, see make_layout_key()."""
        return make_layout_key(self.pcm.shape, self.native)


class RequestQueue:
    """Requests, first in, first out; the engine's threads take the windows of a batch at a time.

    on_idle: called in a taking thread each time that no request came for idle_s seconds.
    expecting: says whether more windows are on their way, for which a batch should wait.
    last_request_wait_s, expected_check_s, idle_s: see the constants of the same names.
    """

    def __init__(
        self,
        on_idle: Callable[[], None],
        expecting: Callable[[], bool],
        *,
        last_request_wait_s: float = LAST_REQUEST_WAIT_S,
        expected_check_s: float = EXPECTED_CHECK_S,
        idle_s: float = IDLE_S,
    ) -> None:
        self._on_idle, self._expecting = on_idle, expecting
        self._last_request_wait_s, self._expected_check_s, self._idle_s = last_request_wait_s, expected_check_s, idle_s
        self._requests: deque[WindowRequest] = deque()
        self._windows = 0  # The number of windows of all queued requests.
        self._wake_windows = 1  # put() wakes a waiting thread only when at least so many windows are queued.
        self._changed = threading.Condition()
        self._closed = False

    def put(self, request: WindowRequest) -> None:
        """Append a request. Raises RuntimeError after close()."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the engine is closed")
            self._requests.append(request)
            self._windows += request.windows
            if self._windows >= self._wake_windows:
                self._changed.notify()

    def close(self) -> None:
        """Accept no more requests. What is queued can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, max_windows: int, gather_s: float = 0.0) -> list[WindowRequest]:
        """Wait for a request, and return the oldest requests that fit into max_windows windows together.

        The first request is returned even when it alone has more windows. All of them want the same answer: peaks, or
        probabilities. Waits up to gather_s seconds for further requests while windows are on their way. Returns an
        empty list when the queue is closed and empty.
        """
        with self._changed:
            while not self._changed.wait_for(lambda: self._requests or self._closed, self._idle_s):
                self._on_idle()
            self._gather(max_windows, gather_s)
            taken: list[WindowRequest] = []
            windows = 0
            while self._requests and (not taken or self._next_goes_with(taken[0], windows, max_windows)):
                taken.append(self._requests.popleft())
                windows += taken[-1].windows
            self._windows -= windows
            return taken

    def _gather(self, max_windows: int, gather_s: float) -> None:
        """Wait until max_windows are queued, the time is over, or no more windows are to come."""
        deadline, windows_before = time.monotonic() + gather_s, 0
        self._wake_windows = max_windows
        while self._windows < max_windows and not self._closed:
            left_s, expecting = deadline - time.monotonic(), self._expecting()
            if left_s <= 0 or (windows_before == self._windows and not expecting):
                break
            windows_before = self._windows
            wait_s = self._expected_check_s if expecting else self._last_request_wait_s
            self._changed.wait_for(lambda: self._windows >= max_windows or self._closed, min(wait_s, left_s))
        self._wake_windows = 1

    def _next_goes_with(self, first: WindowRequest, windows: int, max_windows: int) -> bool:
        """Whether the oldest queued request belongs into a batch that begins with `first` and has so many windows."""
        following = self._requests[0]
        return following.wants_peak == first.wants_peak and windows + following.windows <= max_windows
