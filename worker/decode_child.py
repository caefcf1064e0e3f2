"""The decode child: a process that reads one file at a time into shared memory, and may die of it.

`worker.children` starts it and holds the other ends. Its memory limit does not count what is shared. It ends when
the parent does, whatever C code it is in.
"""

import math
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields

import numpy as np

from worker.cut import Cut, Native
from worker.decode import Windows, read_windows
from worker.errors import OutOfMemory, TrackError

# Parent to child: the kind, a slot, and for TRACK an order. Child to parent: the kind, how many windows, and what
# these are, or what failed.
# The sockets keep the borders of messages, so there are no lengths.
HEADER = struct.Struct("<cI")
ORDER = struct.Struct("<II?II?")  # sample rate, window, whether all of the track, hop, band, native; then the path
SHAPE = struct.Struct("<I?")  # frames, edge; then, of native regions:
LAYOUT = struct.Struct("<IIIIII")  # rate, windows of a region, stride, regions, frames, channels; then the leads
TRACK, SLOT = b"T", b"S"  # read this file into that slot | go on in that slot
TAKEN, WINDOWS, LAST, NEED, END, FAILED = b"K", b"W", b"L", b"N", b"E", b"F"
MESSAGE_BYTES = 1 << 17

NICENESS = 10  # a core goes first to who scans, predicts, stores results or feeds the children


@dataclass(frozen=True)
class Share:
    """What parent and child agree on: two descriptors, the slots of the shared block, the child's memory limit."""

    control: int
    block: int
    slots: int
    slot_bytes: int
    memory_mib: int

    def arguments(self) -> list[str]:
        """The child's command line."""
        return [str(value) for value in astuple(self)]

    @classmethod
    def parse(cls, arguments: list[str]) -> "Share":
        """The opposite of arguments(); ValueError when they are something else."""
        if len(arguments) != len(fields(cls)):
            raise ValueError(f"{len(fields(cls))} numbers are needed, not {len(arguments)}")
        return cls(*map(int, arguments))

    def map(self) -> np.ndarray:
        """The shared block as int16 (slots, samples); it lives as long as views of it do."""
        return np.frombuffer(mmap.mmap(self.block, self.slots * self.slot_bytes), np.int16).reshape(self.slots, -1)

    def limit(self, cut: Cut) -> int:
        """How many windows fit a slot."""
        return self.slot_bytes // (2 * cut.window)


def order(path: bytes, cut: Cut) -> bytes:
    """What follows the header of TRACK."""
    full = cut.coverage == "full"
    return ORDER.pack(cut.sample_rate, cut.window, full, cut.hop, cut.band_hz, cut.native) + path


def parse_order(message: bytes) -> tuple[bytes, Cut]:
    """The opposite of order()."""
    rate, window, full, hop, band_hz, native = ORDER.unpack_from(message)
    return message[ORDER.size :], Cut(rate, window, "full" if full else "regions", hop, band_hz, native)


def describe(block: Windows) -> bytes:
    """What follows the header of WINDOWS."""
    shape, native = SHAPE.pack(block.frames, block.edge), block.native
    if native is None:
        return shape
    layout = LAYOUT.pack(native.rate, native.windows, native.stride, *block.pcm.shape)
    return shape + layout + struct.pack(f"<{len(native.leads)}I", *native.leads)


def parse_windows(samples: np.ndarray, count: int, window: int, message: bytes) -> Windows:
    """The opposite of describe(), for what lies at the front of a slot's samples."""
    shape, rest = SHAPE.unpack_from(message), message[SHAPE.size :]
    if not rest:
        return Windows(samples[: count * window].reshape(count, window), *shape)
    rate, windows, stride, *dimensions = LAYOUT.unpack_from(rest)
    leads = struct.unpack_from(f"<{dimensions[0]}I", rest, LAYOUT.size)
    pcm = samples[: math.prod(dimensions)].reshape(dimensions)
    return Windows(pcm, *shape, Native(rate, leads, windows, stride))


def main(arguments: list[str]) -> int:
    """Serve the parent until it goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    try:
        share = Share.parse(arguments)
        control = socket.socket(fileno=share.control)
    except (ValueError, OSError):
        print("worker.decode_child is started by the worker; run `genremill worker` instead", file=sys.stderr)
        return 2
    threading.Thread(target=_end_with_parent, args=(share.control,), daemon=True).start()
    os.nice(NICENESS)
    pcm = share.map()
    _limit_memory(share.memory_mib)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # mpg123 writes a page about every broken file
    while message := control.recv(MESSAGE_BYTES):
        _, slot = HEADER.unpack_from(message)
        control.send(HEADER.pack(TAKEN, 0))
        path, cut = parse_order(message[HEADER.size :])
        _serve(control, pcm, slot, read_windows(path, cut, share.limit(cut), pcm[slot]))
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
                control.send(HEADER.pack(LAST, len(block.native)) + describe(block))
                return
            pcm[slot, : block.pcm.size] = block.pcm.ravel()
            control.send(HEADER.pack(WINDOWS, len(block.pcm)) + describe(block))
        control.send(HEADER.pack(END, 0))
    except TrackError as error:
        control.send(HEADER.pack(FAILED, 0) + f"{error.code}\n{error}".encode())
        if isinstance(error, OutOfMemory):
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
