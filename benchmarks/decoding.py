"""The decode children alone: what the product cannot be faster than."""

import threading
import time
from collections.abc import Sequence
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


class Children:
    """So many decode children, or as many as a worker has, whose windows nobody uses. Warm, once they are there."""

    def __init__(self, cut: Cut, warm_up: Sequence[Path], children: int = 0):
        config = settings.load()
        self._cut = cut
        self._pool = DecodePool(children or config.children_beside(config.device), native=cut.native)
        self.decode(warm_up)

    def decode(self, tracks: Sequence[Path]) -> tuple[float, int]:
        """Tracks a second, and the windows that came out."""
        tally, began = Tally(), time.perf_counter()
        for track in tracks:
            self._pool.submit(bytes(track), self._cut, tally)
        tally.wait(len(tracks))
        assert not tally.errors, tally.errors[0]
        return len(tracks) / (time.perf_counter() - began), tally.count

    def close(self) -> None:
        """End them."""
        self._pool.close()
