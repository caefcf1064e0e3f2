"""What a decode process and its parent say to each other, and the memory that they share.

Each message is a header of two numbers, which may be followed by more. The first number is a Message. The socket keeps
messages apart (SOCK_SEQPACKET), so that no message has to say its length. For one file, the two say:

    parent                              decode process
    READ_FILE (slot, packed request) ->
                                     <- ACCEPTED
                                     <- WINDOWS (number of windows, how they lie in the slot)
                                     <- NEED_SLOT                        as often as there are
    USE_SLOT (slot)                  ->                                  more windows
                                     <- WINDOWS (number of windows, how they lie in the slot)
                                     <- END, or FAILED (the error's code and message)

Instead of WINDOWS and END, LAST_WINDOWS may come once: native regions are always the only windows of a file.
"""

import math
import mmap
import struct
from dataclasses import astuple, dataclass, fields
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from worker.decode.windows import Windows
from worker.windowing import FrameCut, NativeLayout, Windowing

MESSAGE_BYTES = 1 << 17  # No message is longer than this.

HEADER = struct.Struct("<BI")  # A Message, and a number: the slot, or the number of windows.
REQUEST = struct.Struct(
    "<II?II?"
)  # Sample rate, window, whether coverage is "full", hop, band_hz, native; then the path.
SHAPE = struct.Struct("<I?")  # A FrameCut: frames, 0 without one; edge. Then a LAYOUT if these are native regions.
NO_CUT = FrameCut(0)
LAYOUT = struct.Struct("<IIIIII")  # Rate, windows per region, stride, regions, frames, channels; then OFFSETs.
OFFSET = struct.Struct("<I")  # Of one region.


class Message(IntEnum):
    """The kinds of messages. The comments say what follows the header, and what its number is."""

    # From the parent to the decode process.
    READ_FILE = 1  # Read this file. Its first windows go into the slot of this number. A packed request follows.
    USE_SLOT = 2  # The answer to NEED_SLOT: the next windows go into the slot of this number.

    # From the decode process to the parent.
    ACCEPTED = 3  # The answer to READ_FILE: the process lives, and begins to read. From now on, the deadline counts.
    WINDOWS = 4  # So many windows are in the slot. What pack_windows() makes follows. The slot is the parent's again.
    LAST_WINDOWS = 5  # The same, and the file has no more. No END follows.
    NEED_SLOT = 6  # There are more windows, and no slot to put them into.
    END = 7  # The file has no more windows.
    FAILED = 8  # The file cannot be read. The error's code, a line break and its message follow.


def pack_message(kind: Message, number: int = 0, content: bytes = b"") -> bytes:
    """A message. number, content: as the comment of the kind says."""
    return HEADER.pack(kind, number) + content


def unpack_message(message: bytes) -> tuple[Message, int, bytes]:
    """Kind, number and content of what pack_message() made. Raises ValueError when it made no such message."""
    if len(message) < HEADER.size:
        raise ValueError(f"{len(message)} bytes are no message")
    kind, number = HEADER.unpack_from(message)
    return Message(kind), number, message[HEADER.size :]


@dataclass(frozen=True)
class SharedBlock:
    """The memory into which decode processes write windows, and what else a process must know at its start."""

    control_fd: int  # Descriptor of the process's end of the socket to its parent.
    block_fd: int  # Descriptor of the shared memory.
    slots: int  # Into how many slots the shared memory is divided.
    slot_bytes: int  # Size of one slot.
    memory_mib: int  # Private memory that the process may use, in MiB. The shared memory does not count.

    def to_arguments(self) -> list[str]:
        """The arguments of the process's command line."""
        return [str(value) for value in astuple(self)]

    @classmethod
    def from_arguments(cls, arguments: list[str]) -> "SharedBlock":
        """What to_arguments() was made of. Raises ValueError when the arguments are something else."""
        if len(arguments) != len(fields(cls)):
            raise ValueError(f"{len(fields(cls))} numbers are needed, not {len(arguments)}")
        return cls(*map(int, arguments))

    def map(self) -> npt.NDArray[np.int16]:
        """The shared memory as int16 (slots, samples). It lives as long as views of it do."""
        return np.frombuffer(mmap.mmap(self.block_fd, self.slots * self.slot_bytes), np.int16).reshape(self.slots, -1)

    def windows_per_slot(self, windowing: Windowing) -> int:
        """How many windows of this length fit a slot. Native regions are not meant: they fit, or are not native."""
        return self.slot_bytes // (2 * windowing.window)


def pack_request(path: bytes, windowing: Windowing) -> bytes:
    """The content of READ_FILE: which windows of which file are wanted."""
    is_full = windowing.coverage == "full"
    numbers = (windowing.sample_rate, windowing.window, is_full, windowing.hop, windowing.band_hz, windowing.native)
    return REQUEST.pack(*numbers) + path


def unpack_request(content: bytes) -> tuple[bytes, Windowing]:
    """The path and the windowing that pack_request() was given."""
    sample_rate, window, is_full, hop, band_hz, native = REQUEST.unpack_from(content)
    coverage = "full" if is_full else "regions"
    return content[REQUEST.size :], Windowing(sample_rate, window, coverage, hop, band_hz, native)


def pack_windows(block: Windows) -> bytes:
    """The content of WINDOWS and LAST_WINDOWS: everything about a block but its samples and its number of windows."""
    shape, native = SHAPE.pack(*(block.cut or NO_CUT)[:2]), block.native
    if native is None:
        return shape
    layout = LAYOUT.pack(native.rate, native.windows, native.stride, *block.pcm.shape)
    return shape + layout + b"".join(map(OFFSET.pack, native.offsets))


def unpack_windows(samples: npt.NDArray[np.int16], count: int, window: int, content: bytes) -> Windows:
    """The block that pack_windows() was given.

    samples: int16 (samples,) of the slot, of which `pcm` will be a view. count: the number of windows that the
    message's header says. window: the length of one, in samples.
    """
    frames, edge = SHAPE.unpack_from(content)
    cut = FrameCut(frames, edge) if frames else None
    if len(content) == SHAPE.size:
        return Windows(samples[: count * window].reshape(count, window), cut)
    rate, windows, stride, *dimensions = LAYOUT.unpack_from(content, SHAPE.size)
    offsets = tuple(offset for (offset,) in OFFSET.iter_unpack(content[SHAPE.size + LAYOUT.size :]))
    pcm = samples[: math.prod(dimensions)].reshape(dimensions)
    return Windows(pcm, cut, NativeLayout(rate, offsets, windows, stride))
