"""The decode children alone: what the product cannot be faster than."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import settings
from worker import checkpoints
from worker.checkpoints import Checkpoint
from worker.children import Block, DecodePool
from worker.cut import Cut


def cut_of(checkpoint: Checkpoint, device: str) -> Cut:
    """What the model reads of a track on this device."""
    return replace(checkpoints.load(checkpoint, "cpu").cut(), native=device != "cpu")


class Tally:
    """The sink of all tracks: counts windows and gives their blocks back at once."""

    def __init__(self):
        self._changed = threading.Condition()
        self.tracks, self.count, self.errors = 0, 0, []

    def windows(self, block: Block) -> None:
        """See worker.children.Sink."""
        with self._changed:
            self.count += block.windows
        block.release()

    def end(self) -> None:
        with self._changed:
            self.tracks += 1
            self._changed.notify_all()

    def failed(self, error: Exception) -> None:
        self.errors.append(error)
        self.end()

    def wait(self, tracks: int) -> None:
        """Until so many tracks are read."""
        with self._changed:
            self._changed.wait_for(lambda: self.tracks == tracks)


def decode_alone(
    parts: Sequence[Sequence[Path]], warm_up: Sequence[Path], cut: Cut, children: int = 0
) -> Iterator[tuple[float, int]]:
    """Of each part of the tracks, one after the other: tracks a second of so many decode children, or as many as a
    worker has, and the windows that came out."""
    config = settings.load()
    pool = DecodePool(children or config.children_beside(config.device), native=cut.native)
    try:
        _decode(pool, warm_up, cut)
        for tracks in parts:
            began = time.perf_counter()
            windows = _decode(pool, tracks, cut)
            yield len(tracks) / (time.perf_counter() - began), windows
    finally:
        pool.close()


def _decode(pool: DecodePool, tracks: Sequence[Path], cut: Cut) -> int:
    tally = Tally()
    for track in tracks:
        pool.submit(bytes(track), cut, tally)
    tally.wait(len(tracks))
    assert not tally.errors, tally.errors[0]
    return tally.count
