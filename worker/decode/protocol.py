"""What a decode child and its parent say to each other, and the memory that they share."""

import math
import mmap
import struct
from dataclasses import astuple, dataclass, fields

import numpy as np

from worker.decode.windows import Windows
from worker.windowing import NativeLayout, Windowing

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


@dataclass(frozen=True)
class SharedBlock:
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
    def parse(cls, arguments: list[str]) -> "SharedBlock":
        """The opposite of arguments(); ValueError when they are something else."""
        if len(arguments) != len(fields(cls)):
            raise ValueError(f"{len(fields(cls))} numbers are needed, not {len(arguments)}")
        return cls(*map(int, arguments))

    def map(self) -> np.ndarray:
        """The shared block as int16 (slots, samples); it lives as long as views of it do."""
        return np.frombuffer(mmap.mmap(self.block, self.slots * self.slot_bytes), np.int16).reshape(self.slots, -1)

    def limit(self, windowing: Windowing) -> int:
        """How many windows fit a slot."""
        return self.slot_bytes // (2 * windowing.window)


def pack_request(path: bytes, windowing: Windowing) -> bytes:
    """What follows the header of TRACK."""
    full = windowing.coverage == "full"
    return (
        ORDER.pack(windowing.sample_rate, windowing.window, full, windowing.hop, windowing.band_hz, windowing.native)
        + path
    )


def unpack_request(message: bytes) -> tuple[bytes, Windowing]:
    """The opposite of order()."""
    rate, window, full, hop, band_hz, native = ORDER.unpack_from(message)
    return message[ORDER.size :], Windowing(rate, window, "full" if full else "regions", hop, band_hz, native)


def pack_windows(block: Windows) -> bytes:
    """What follows the header of WINDOWS."""
    shape, native = SHAPE.pack(block.frames, block.edge), block.native
    if native is None:
        return shape
    layout = LAYOUT.pack(native.rate, native.windows, native.stride, *block.pcm.shape)
    return shape + layout + struct.pack(f"<{len(native.offsets)}I", *native.offsets)


def unpack_windows(samples: np.ndarray, count: int, window: int, message: bytes) -> Windows:
    """The opposite of describe(), for what lies at the front of a slot's samples."""
    shape, rest = SHAPE.unpack_from(message), message[SHAPE.size :]
    if not rest:
        return Windows(samples[: count * window].reshape(count, window), *shape)
    rate, windows, stride, *dimensions = LAYOUT.unpack_from(rest)
    offsets = struct.unpack_from(f"<{dimensions[0]}I", rest, LAYOUT.size)
    pcm = samples[: math.prod(dimensions)].reshape(dimensions)
    return Windows(pcm, *shape, NativeLayout(rate, offsets, windows, stride))
