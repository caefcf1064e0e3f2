"""What passes between the decode pool and whoever wants a track's windows."""

import contextlib
import threading
from typing import Protocol

from worker.decode.closable_queue import ClosableQueue, QueueClosedError
from worker.decode.windows import Windows
from worker.errors import TrackError


class WindowBlock:
    """Some windows of a track in shared memory. The fields are those of worker.decode.windows.Windows.

    `pcm` is a view of the shared memory, which is valid until release().
    """

    def __init__(self, windows: Windows, slot: int, free_slots: ClosableQueue[int]) -> None:
        self.pcm, self.cut, self.native = windows
        self._slot: int | None = slot
        self._free_slots, self._lock = free_slots, threading.Lock()

    @property
    def windows(self) -> int:
        """The number of windows."""
        return len(self.pcm) if self.native is None else len(self.native)

    def release(self) -> None:
        """Give the slot back to the pool. From any thread; more than one call does no harm."""
        with self._lock:
            slot, self._slot = self._slot, None
        if slot is not None:
            with contextlib.suppress(QueueClosedError):
                self._free_slots.put(slot)


class Sink(Protocol):
    """What gets the windows of one track. A thread of the pool calls it. An exception in it fails the track."""

    def windows(self, block: WindowBlock) -> None:
        """Take some of the track's windows, in order. Call block.release() when they are not needed any more."""

    def end(self) -> None:
        """All windows of the track were given. Either this or failed() is called, once, and nothing after it."""

    def failed(self, error: TrackError) -> None:
        """The track cannot be read. Windows that were given before may already be in use."""
