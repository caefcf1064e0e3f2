"""A pool of decode processes that may die: files in, blocks of windows in shared memory out.

For each process, a thread in the parent hands it a file and a slot of the shared memory, and passes on what comes
back. A process that crashes, hangs or takes too much memory costs the file it was reading. The next file goes to a new
process.
"""

import os
import sys
import threading

import numpy as np
import numpy.typing as npt

from worker.decode.child_thread import ChildThread, FileRequest
from worker.decode.closable_queue import ClosableQueue, QueueClosedError
from worker.decode.protocol import SharedBlock
from worker.decode.readahead import ReadAhead
from worker.decode.sink import Sink
from worker.windowing import Windowing

SLOTS_PER_PROCESS = 4
SLOT_BYTES = 1 << 21  # Room for 21 windows of musicnn, which is more than the regions of a track have.
NATIVE_SLOT_BYTES = 1 << 23  # Room for the regions of a track in stereo at 48 kHz.


class DecodePool:
    """Decodes submitted files in `processes` processes, which start at once and in parallel.

    native: regions may be asked for as files have them, which takes larger slots.
    slots: how many blocks may be in use at a time, by default SLOTS_PER_PROCESS for each process. When all are, whoever
    uses blocks must release some before others come.
    slot_bytes: the size of a slot, by default what musicnn, or native regions, need.
    deadline_s: seconds that a process may take for one block. Waiting for a slot does not count.
    memory_mib: private memory that a process may use, in MiB.
    """

    def __init__(
        self,
        processes: int,
        *,
        native: bool = False,
        slots: int | None = None,
        slot_bytes: int | None = None,
        deadline_s: float = 60.0,
        memory_mib: int = 1024,
    ) -> None:
        slots = slots or SLOTS_PER_PROCESS * processes
        slot_bytes = slot_bytes or (NATIVE_SLOT_BYTES if native else SLOT_BYTES)
        fd = os.memfd_create("genremill-pcm")
        os.ftruncate(fd, slots * slot_bytes)
        self._share = SharedBlock(-1, fd, slots, slot_bytes, memory_mib)
        self._closing, self._is_closed = threading.Lock(), False
        self._pcm = self._share.map()
        self._files: ClosableQueue[FileRequest] = ClosableQueue(2 * processes)
        self._free_slots: ClosableQueue[int] = ClosableQueue(slots)
        for slot in range(slots):
            self._free_slots.put(slot)
        self._readahead = ReadAhead(processes)
        self._threads = [
            ChildThread(self._share, self._pcm, self._files, self._free_slots, deadline_s) for _ in range(processes)
        ]

    def submit(self, path: bytes, windowing: Windowing, sink: Sink) -> None:
        """Queue a file. Waits while twice as many files as there are processes are queued.

        Raises RuntimeError after close(), and ValueError for a window that is larger than a slot.
        """
        if not self._share.windows_per_slot(windowing):
            size = self._share.slot_bytes
            raise ValueError(f"a window of {windowing.window} samples does not fit a slot of {size} bytes")
        self._readahead.ask(path, windowing.coverage)
        try:
            self._files.put(FileRequest(path, windowing, sink))
        except QueueClosedError:
            raise RuntimeError("the decode pool is closed") from None

    @property
    def memory(self) -> npt.NDArray[np.int16]:
        """The shared memory: int16 (slots, samples)."""
        return self._pcm

    def expecting(self) -> bool:
        """Whether more windows will come even if nobody releases a block.

        That is so while files are queued, since then every process has one, and while there are free slots.
        """
        return bool(len(self._files) and len(self._free_slots))

    def close(self) -> None:
        """Stop. Queued files are dropped without a call of their sinks, and the processes end.

        The shared memory is freed with its last view: blocks that are in use stay valid. More than one call does no
        harm.
        """
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            self._files.close()  # First, so that no thread takes another file.
            self._readahead.close()
            self._free_slots.close()
            for thread in self._threads:
                thread.stop()
            for thread in self._threads:
                thread.join()
            self._threads.clear()  # They have views of the shared memory, as has this object.
            self._pcm = np.zeros((0, 0), np.int16)
            os.close(self._share.block_fd)


if __name__ == "__main__":
    sys.exit("worker.decode.pool is a part of the worker, which starts it; run `genremill worker` instead")
