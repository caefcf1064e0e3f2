"""The thread that owns one decode process: it starts the process, gives it files, and replaces it when it fails."""

import contextlib
import logging
import threading
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from worker.decode.audio_file import display_name
from worker.decode.child_handle import Child, ChildDiedError
from worker.decode.closable_queue import ClosableQueue, QueueClosedError
from worker.decode.protocol import Message, SharedBlock, pack_request, unpack_windows
from worker.decode.sink import Sink, WindowBlock
from worker.errors import DecoderCrashedError, DecodeTimeoutError, TrackError, by_code
from worker.windowing import Windowing

# Seconds that a decode process may take to accept a file. They are for its start on a busy machine: decoding has a
# deadline of its own.
ACCEPT_S = 60.0

log = logging.getLogger(__name__)


class FileRequest(NamedTuple):
    """A file that was submitted to the pool."""

    path: bytes
    windowing: Windowing  # Which windows are wanted.
    sink: Sink  # Who gets them.


class SinkError(Exception):
    """The sink raised an exception when it was given windows."""


class ChildThread:
    """A thread that decodes files of a queue, one after another, in a process of its own.

    share: the shared memory, and pcm: the same as int16 (slots, samples). files, free_slots: queues that all threads
    of the pool share. deadline_s: seconds that the process may take for one block of windows.
    """

    def __init__(
        self,
        share: SharedBlock,
        pcm: npt.NDArray[np.int16],
        files: ClosableQueue[FileRequest],
        free_slots: ClosableQueue[int],
        deadline_s: float,
    ) -> None:
        self._share, self._pcm, self._files, self._free_slots = share, pcm, files, free_slots
        self._deadline_s = deadline_s
        self._lock, self._is_stopped = threading.Lock(), False  # The lock is for these two.
        self._child: Child | None = None
        self._thread = threading.Thread(target=self._run, name="decode-handler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Kill the process, which has nothing to save. The thread ends by itself; join() waits for that."""
        with self._lock:
            self._is_stopped = True
            if self._child:
                self._child.kill()

    def join(self) -> None:
        """Wait until the thread has ended."""
        if self._thread is not threading.current_thread():  # A sink may close the pool, in this very thread.
            self._thread.join()

    def _run(self) -> None:
        """Decode files until the queue of files is closed."""
        try:
            with contextlib.suppress(ChildDiedError):  # The first file will get this error.
                self._living_child()
            while True:
                self._handle(self._files.get())
        except QueueClosedError:
            self._drop_child()

    def _handle(self, request: FileRequest) -> None:
        """Decode one file, and tell its sink the end. Raises QueueClosedError when the pool is closed meanwhile."""
        error = None
        try:
            self._deliver(request)
        except TrackError as failure:
            error = failure
        except (ChildDiedError, TimeoutError, SinkError) as trouble:
            self._drop_child()
            if self._is_stopped:
                raise QueueClosedError from None
            error = self._track_error(request.path, trouble)
        try:
            request.sink.failed(error) if error else request.sink.end()
        except Exception:
            log.exception("%s: the end of the track could not be handed over", display_name(request.path))

    def _deliver(self, request: FileRequest) -> None:
        """Give the windows of one file to its sink.

        Raises TrackError, TimeoutError, ChildDiedError, SinkError or QueueClosedError.
        """
        slot, is_ours = self._free_slots.get(), True  # Whether the slot is this thread's to give back.
        try:
            child = self._start_file(request, slot)
            while True:
                kind, number, content = child.receive(self._deadline_s)
                if kind in (Message.WINDOWS, Message.LAST_WINDOWS):
                    windows = unpack_windows(self._pcm[slot], number, request.windowing.window, content)
                    block, is_ours = WindowBlock(windows, slot, self._free_slots), False
                    _hand_over(block, request)
                elif kind == Message.NEED_SLOT:
                    slot, is_ours = self._free_slots.get(), True
                    child.send(Message.USE_SLOT, slot)
                elif kind == Message.FAILED:
                    raise by_code(*content.decode(errors="replace").split("\n", 1))
                if kind in (Message.LAST_WINDOWS, Message.END):
                    return
        finally:
            if is_ours:
                with contextlib.suppress(QueueClosedError):
                    self._free_slots.put(slot)

    def _start_file(self, request: FileRequest, slot: int) -> Child:
        """Send the file to the process, which then reads it into the slot.

        A process that died or hung while it had nothing to do is replaced once. Raises DecoderCrashedError.
        """
        reason: Exception | str = "out of turn"
        for _ in range(2):
            try:
                child = self._living_child()
                child.send(Message.READ_FILE, slot, pack_request(request.path, request.windowing))
                kind, _, _ = child.receive(ACCEPT_S)
                if kind == Message.ACCEPTED:
                    return child
            except (ChildDiedError, TimeoutError) as trouble:
                reason = trouble
            self._drop_child()
            if self._is_stopped:
                raise QueueClosedError
        name = display_name(request.path)
        raise DecoderCrashedError(f"{name}: decoders end before they begin ({reason}); see the worker's log and retry")

    def _track_error(self, path: bytes, trouble: Exception) -> TrackError:
        """What went wrong with the process or the sink, as the error of the track."""
        name = display_name(path)
        if isinstance(trouble, TimeoutError):
            limit = f"{self._deadline_s:g} s"
            return DecodeTimeoutError(f"{name}: the decoder took more than {limit}; look at the file or leave it out")
        if isinstance(trouble, ChildDiedError):
            return DecoderCrashedError(f"{name}: the decoder died of it ({trouble}); look at the file or leave it out")
        return TrackError(f"{name}: its windows could not be handed over; see the worker's log")

    def _living_child(self) -> Child:
        """The process, started if there is none. Raises QueueClosedError after stop(), or ChildDiedError."""
        with self._lock:
            if self._is_stopped:
                raise QueueClosedError
            if self._child is None:
                self._child = Child(self._share)
            return self._child

    def _drop_child(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            child, self._child = self._child, None
        if child:
            child.end()


def _hand_over(block: WindowBlock, request: FileRequest) -> None:
    """Give a block to the sink. Raises SinkError."""
    try:
        request.sink.windows(block)
    except Exception as error:
        log.exception("%s: its windows could not be handed over", display_name(request.path))
        block.release()
        raise SinkError from error
