"""The decode children alone: what the product cannot be faster than."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

import settings
from worker.decode.pool import DecodePool, WindowBlock
from worker.models import checkpoints
from worker.models.checkpoints import Checkpoint
from worker.windowing import Windowing


def windowing_of(checkpoint: Checkpoint, device: str) -> Windowing:
    """What the model reads of a track on this device."""
    return replace(checkpoints.load_model(checkpoint, "cpu").windowing(), native=device != "cpu")


@dataclass(frozen=True)
class Decoded:
    """What decode children did with some tracks."""

    windows: int
    tracks_per_s: float
    cpu_ms: float  # of the children, a track


def cpu_s(processes: Iterable[psutil.Process]) -> float:
    """CPU seconds that they used so far."""
    times = [process.cpu_times() for process in processes]
    return sum(time.user + time.system for time in times)


class Tally:
    """The sink of all tracks: counts windows and gives their blocks back at once."""

    def __init__(self):
        self._changed = threading.Condition()
        self.tracks, self.count, self.errors = 0, 0, []

    def windows(self, block: WindowBlock) -> None:
        """See worker.decode.pool.Sink."""
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

    def __init__(self, windowing: Windowing, warm_up: Sequence[Path], children: int = 0):
        config = settings.load()
        self._windowing = windowing
        self._pool = DecodePool(children or config.decode_processes_for(config.device), native=windowing.native)
        self.decode(warm_up)

    def decode(self, tracks: Sequence[Path]) -> Decoded:
        """Decode all of them."""
        tally, used_s, began = Tally(), self._cpu_s(), time.perf_counter()
        for track in tracks:
            self._pool.submit(bytes(track), self._windowing, tally)
        tally.wait(len(tracks))
        spent_s, used_s = time.perf_counter() - began, self._cpu_s() - used_s
        assert not tally.errors, tally.errors[0]
        return Decoded(tally.count, len(tracks) / spent_s, used_s / len(tracks) * 1e3)

    def _cpu_s(self) -> float:
        below = psutil.Process().children(recursive=True)
        return cpu_s(child for child in below if "worker.decode.child" in child.cmdline())

    def close(self) -> None:
        """End them."""
        self._pool.close()
