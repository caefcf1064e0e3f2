"""The decode process: it reads one file at a time into shared memory, and may die of a file.

worker.decode.pool starts it. It ends when its parent does, whatever C code it is in.
"""

import os
import resource
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from worker.decode.protocol import (
    MESSAGE_BYTES,
    Message,
    SharedBlock,
    pack_message,
    pack_windows,
    unpack_message,
    unpack_request,
)
from worker.decode.windows import Windows, read_windows
from worker.errors import DecoderOutOfMemoryError, TrackError

NICENESS = 10  # Added to the process's niceness: scanning, predicting and storing results get the processor first.


def main(arguments: list[str]) -> int:
    """Serve the parent until it goes away. Returns the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides what it means.
    try:
        share = SharedBlock.from_arguments(arguments)
        control = socket.socket(fileno=share.control_fd)
    except (ValueError, OSError):
        print("worker.decode.child is started by the worker; run `genremill worker` instead", file=sys.stderr)
        return 2
    threading.Thread(target=_exit_with_parent, args=(share.control_fd,), daemon=True).start()
    os.nice(NICENESS)
    pcm = share.map()
    _limit_memory(share.memory_mib)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libmpg123 writes a page about every broken file to stderr.
    while message := control.recv(MESSAGE_BYTES):
        _, slot, content = unpack_message(message)
        control.send(pack_message(Message.ACCEPTED))
        path, windowing = unpack_request(content)
        _serve(control, pcm, slot, read_windows(path, windowing, share.windows_per_slot(windowing), pcm[slot]))
    return 0


def _serve(control: socket.socket, pcm: npt.NDArray[np.int16], slot: int, blocks: Iterator[Windows]) -> None:
    """Send the blocks of one file to the parent, as worker.decode.protocol says.

    slot: the one in `pcm` (slots, samples) that the first block goes into. Native regions are already there.
    """
    try:
        for number, block in enumerate(blocks):
            if number:
                slot = _request_slot(control)
            if block.native is not None:
                control.send(pack_message(Message.LAST_WINDOWS, len(block.native), pack_windows(block)))
                return
            pcm[slot, : block.pcm.size] = block.pcm.ravel()
            control.send(pack_message(Message.WINDOWS, len(block.pcm), pack_windows(block)))
        control.send(pack_message(Message.END))
    except TrackError as error:
        control.send(pack_message(Message.FAILED, content=f"{error.code}\n{error}".encode()))
        if isinstance(error, DecoderOutOfMemoryError):
            os._exit(0)  # The memory that is left may be too little for the next file. A new process has all of it.


def _request_slot(control: socket.socket) -> int:
    """Ask the parent for a slot, and wait for it. Does not return when the parent goes away."""
    control.send(pack_message(Message.NEED_SLOT))
    message = control.recv(MESSAGE_BYTES)
    if not message:
        os._exit(0)
    _, slot, _ = unpack_message(message)
    return slot


def _limit_memory(mib: int) -> None:
    """Make the system refuse private memory beyond a limit: a MemoryError in Python, a failed malloc in C."""
    resource.setrlimit(resource.RLIMIT_DATA, (mib << 20, mib << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _exit_with_parent(control_fd: int) -> None:
    """Wait until the parent's end of the socket closes, which it does however the parent ends, and exit."""
    poll = select.poll()
    poll.register(control_fd, select.POLLRDHUP)
    poll.poll()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
