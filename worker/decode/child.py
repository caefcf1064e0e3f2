"""The decode child: a process that reads one file at a time into shared memory, and may die of it.

`worker.decode.pool` starts it and holds the other ends. Its memory limit does not count what is shared. It ends when
the parent does, whatever C code it is in.
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

from worker.decode.protocol import (
    END,
    FAILED,
    HEADER,
    LAST,
    MESSAGE_BYTES,
    NEED,
    TAKEN,
    WINDOWS,
    SharedBlock,
    pack_windows,
    unpack_request,
)
from worker.decode.windows import Windows, read_windows
from worker.errors import DecoderOutOfMemoryError, TrackError

NICENESS = 10  # a core goes first to who scans, predicts, stores results or feeds the children


def main(arguments: list[str]) -> int:
    """Serve the parent until it goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    try:
        share = SharedBlock.parse(arguments)
        control = socket.socket(fileno=share.control)
    except (ValueError, OSError):
        print("worker.decode.child is started by the worker; run `genremill worker` instead", file=sys.stderr)
        return 2
    threading.Thread(target=_end_with_parent, args=(share.control,), daemon=True).start()
    os.nice(NICENESS)
    pcm = share.map()
    _limit_memory(share.memory_mib)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # mpg123 writes a page about every broken file
    while message := control.recv(MESSAGE_BYTES):
        _, slot = HEADER.unpack_from(message)
        control.send(HEADER.pack(TAKEN, 0))
        path, windowing = unpack_request(message[HEADER.size :])
        _serve(control, pcm, slot, read_windows(path, windowing, share.limit(windowing), pcm[slot]))
    return 0


def _serve(control: socket.socket, pcm: np.ndarray, slot: int, blocks: Iterator[Windows]) -> None:
    """Read one file: WINDOWS for each block, NEED before a further one, then END or FAILED; native regions are the
    only block of a track, and LAST."""
    try:
        for number, block in enumerate(blocks):
            if number:
                control.send(HEADER.pack(NEED, 0))
                _, slot = HEADER.unpack_from(control.recv(MESSAGE_BYTES) or os._exit(0))
            if block.native is not None:  # it is there already
                control.send(HEADER.pack(LAST, len(block.native)) + pack_windows(block))
                return
            pcm[slot, : block.pcm.size] = block.pcm.ravel()
            control.send(HEADER.pack(WINDOWS, len(block.pcm)) + pack_windows(block))
        control.send(HEADER.pack(END, 0))
    except TrackError as error:
        control.send(HEADER.pack(FAILED, 0) + f"{error.code}\n{error}".encode())
        if isinstance(error, DecoderOutOfMemoryError):
            os._exit(0)  # what is left of the heap may not do for the next file


def _limit_memory(mib: int) -> None:
    """Private memory beyond the limit is refused: MemoryError in Python, a failed malloc in C."""
    resource.setrlimit(resource.RLIMIT_DATA, (mib << 20, mib << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end_with_parent(control: int) -> None:
    """Wait until the parent's end of the socket closes, which it does however the parent ends."""
    poll = select.poll()
    poll.register(control, select.POLLRDHUP)
    poll.poll()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
