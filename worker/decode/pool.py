"""A pool of decode child processes that may die: files in, blocks of windows in shared memory out.

One thread in the parent for each child hands it a file and a slot of the shared block, and passes on what comes back.
A child that crashes, hangs or outgrows its memory costs the file it was reading; the next file goes to a new child.
"""

import contextlib
import logging
import os
import sys
import threading
from typing import Protocol

import numpy as np

from worker.decode.audio_file import display_name
from worker.decode.child_handle import Child, ChildDiedError
from worker.decode.closable_queue import ClosableQueue, QueueClosedError
from worker.decode.protocol import (
    END,
    FAILED,
    LAST,
    NEED,
    SLOT,
    TAKEN,
    TRACK,
    WINDOWS,
    SharedBlock,
    pack_request,
    unpack_windows,
)
from worker.decode.readahead import ReadAhead
from worker.decode.windows import Windows
from worker.errors import DecoderCrashedError, DecodeTimeoutError, TrackError, by_code
from worker.windowing import Windowing

START_S = 60.0  # how long a child may take to begin with a file: its start on a busy machine, not the decoding
SLOTS_PER_CHILD = 4
SLOT_BYTES = 1 << 21  # 21 windows of musicnn's: more than the regions of a track
NATIVE_SLOT_BYTES = 1 << 23  # the regions of a track in stereo at 48 kHz

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Who gets a track's windows; called from a handler thread. What it raises fails the track."""

    def windows(self, block: "WindowBlock") -> None:
        """Some of the track's windows, in order; release() the block when they are used."""

    def end(self) -> None:
        """The track is read. Exactly one of end() and failed() closes a track."""

    def failed(self, error: TrackError) -> None:
        """The track cannot be read; blocks delivered before may already be in use."""


class WindowBlock:
    """Windows in shared memory, see worker.decode.windows.Windows: `pcm` is a view that is valid until release()."""

    def __init__(self, found: Windows, slot: int, free: "ClosableQueue"):
        self.pcm, self.frames, self.edge, self.native = found
        self._slot, self._free, self._lock = slot, free, threading.Lock()

    @property
    def windows(self) -> int:
        """How many."""
        return len(self.native or self.pcm)

    def release(self) -> None:
        """Give the slot back; from any thread, and more than once does no harm."""
        with self._lock:
            slot, self._slot = self._slot, None
        if slot is not None:
            with contextlib.suppress(QueueClosedError):
                self._free.put(slot)


class DecodePool:
    """Decodes submitted files in `children` processes, which start at once and in parallel.

    native: regions may be asked for as files have them, which takes larger slots. slots: blocks of slot_bytes in
    use at a time, 4 a child unless told; whoever takes the blocks has to release some before others come. deadline_s:
    what a child may take for one block; waiting for a slot does not count. memory_mib: private memory of one child.
    """

    def __init__(
        self,
        children: int,
        *,
        native: bool = False,
        slots: int | None = None,
        slot_bytes: int | None = None,
        deadline_s: float = 60.0,
        memory_mib: int = 1024,
    ):
        slots = slots or SLOTS_PER_CHILD * children
        slot_bytes = slot_bytes or (NATIVE_SLOT_BYTES if native else SLOT_BYTES)
        fd = os.memfd_create("genremill-pcm")
        os.ftruncate(fd, slots * slot_bytes)
        self._share, self._closing = SharedBlock(-1, fd, slots, slot_bytes, memory_mib), threading.Lock()
        self._pcm: np.ndarray | None = self._share.map()
        self._tracks, self._free = ClosableQueue(2 * children), ClosableQueue(slots)
        self._ahead = ReadAhead(children)
        for slot in range(slots):
            self._free.put(slot)
        self._handlers = [
            _Handler(self._share, self._pcm, self._tracks, self._free, deadline_s) for _ in range(children)
        ]

    def submit(self, path: bytes, windowing: Windowing, sink: Sink) -> None:
        """Queue a file; waits while twice as many as there are children are queued.

        Raises RuntimeError after close(), ValueError for a window that is larger than a slot.
        """
        if not self._share.limit(windowing):
            raise ValueError(
                f"a window of {windowing.window} samples does not fit a slot of {self._share.slot_bytes} bytes"
            )
        self._ahead.ask(path, windowing.coverage)
        try:
            self._tracks.put((path, windowing, sink))
        except QueueClosedError:
            raise RuntimeError("the decode pool is closed") from None

    @property
    def memory(self) -> np.ndarray:
        """The shared block: int16 (slots, samples)."""
        return self._pcm

    def expecting(self) -> bool:
        """Whether files wait for a child, so that all have one, and more windows come without anybody releasing a
        block."""
        return bool(len(self._tracks) and len(self._free))

    def close(self) -> None:
        """Stop: queued files are dropped without a call, the children end, the memory goes with its last view."""
        with self._closing:
            if self._pcm is None:
                return
            self._tracks.close()  # first, so that no handler takes a further file
            self._ahead.close()
            self._free.close()
            for handler in self._handlers:
                handler.stop()
            for handler in self._handlers:
                handler.join()
            self._handlers.clear()  # their views of it
            self._pcm = None
            os.close(self._share.block)


class SinkError(Exception):
    """The sink raised."""


class _Handler:
    """The thread that owns one child: starts it, gives it files, replaces it when it fails."""

    def __init__(
        self, share: SharedBlock, pcm: np.ndarray, tracks: ClosableQueue, free: ClosableQueue, deadline_s: float
    ):
        self._share, self._pcm, self._tracks, self._free, self._deadline_s = share, pcm, tracks, free, deadline_s
        self._lock, self._child, self._stopped = threading.Lock(), None, False
        self._thread = threading.Thread(target=self._run, name="decode-handler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Kill the child: it has nothing to save. The thread ends by itself; join() waits for that."""
        with self._lock:
            self._stopped = True
            if self._child:
                self._child.kill()

    def join(self) -> None:
        if self._thread is not threading.current_thread():  # a sink may close the pool
            self._thread.join()

    def _run(self) -> None:
        try:
            with contextlib.suppress(ChildDiedError):  # which the first track will be told
                self._living_child()
            while True:
                self._read(*self._tracks.get())
        except QueueClosedError:
            self._drop_child()

    def _read(self, path: bytes, windowing: Windowing, sink: Sink) -> None:
        """One track, from its submission to end() or failed()."""
        error = None
        try:
            self._deliver(path, windowing, sink)
        except TrackError as failure:
            error = failure
        except (ChildDiedError, TimeoutError, SinkError) as trouble:
            self._drop_child()
            if self._stopped:
                raise QueueClosedError from None
            error = self._error_for(path, trouble)
        try:
            sink.failed(error) if error else sink.end()
        except Exception:
            log.exception("%s: the end of the track could not be handed over", display_name(path))

    def _deliver(self, path: bytes, windowing: Windowing, sink: Sink) -> None:
        """The child's answers to one file; raises TrackError, TimeoutError, ChildDiedError, SinkError or QueueClosedError."""
        slot = self._free.get()
        try:
            child = self._give(path, windowing, slot)
            while True:
                kind, count, rest = child.answer(self._deadline_s)
                if kind in (WINDOWS, LAST):
                    found = unpack_windows(self._pcm[slot], count, windowing.window, rest)
                    block, slot = WindowBlock(found, slot, self._free), None
                    _hand_over(block, sink, path)
                    if kind == LAST:
                        return
                elif kind == NEED:
                    slot = self._free.get()
                    child.ask(SLOT, slot)
                elif kind == FAILED:
                    raise by_code(*rest.decode(errors="replace").split("\n", 1))
                elif kind == END:
                    return
        finally:
            if slot is not None:
                with contextlib.suppress(QueueClosedError):
                    self._free.put(slot)

    def _give(self, path: bytes, windowing: Windowing, slot: int) -> "Child":
        """Hand the file to the child; one that died or hung while it had nothing to do is replaced, once."""
        reason: Exception | str = "out of turn"
        for _ in range(2):
            try:
                child = self._living_child()
                child.ask(TRACK, slot, pack_request(path, windowing))
                if child.answer(START_S)[0] == TAKEN:
                    return child
            except (ChildDiedError, TimeoutError) as trouble:
                reason = trouble
            self._drop_child()
            if self._stopped:
                raise QueueClosedError
        raise DecoderCrashedError(
            f"{display_name(path)}: decoders end before they begin ({reason}); see the worker's log and retry"
        )

    def _error_for(self, path: bytes, trouble: Exception) -> TrackError:
        name = display_name(path)
        if isinstance(trouble, TimeoutError):
            return DecodeTimeoutError(
                f"{name}: the decoder took more than {self._deadline_s:g} s; look at the file or leave it out"
            )
        if isinstance(trouble, ChildDiedError):
            return DecoderCrashedError(f"{name}: the decoder died of it ({trouble}); look at the file or leave it out")
        return TrackError(f"{name}: its windows could not be handed over; see the worker's log")

    def _living_child(self) -> "Child":
        with self._lock:
            if self._stopped:
                raise QueueClosedError
            if self._child is None:
                self._child = Child(self._share)
            return self._child

    def _drop_child(self) -> None:
        with self._lock:
            child, self._child = self._child, None
        if child:
            child.end()


def _hand_over(block: WindowBlock, sink: Sink, path: bytes) -> None:
    try:
        sink.windows(block)
    except Exception as error:
        log.exception("%s: its windows could not be handed over", display_name(path))
        block.release()
        raise SinkError from error


if __name__ == "__main__":
    sys.exit("worker.decode.pool is a part of the worker, which starts it; run `genremill worker` instead")
