"""The decode processes alone, with windows that nobody uses: the product cannot be faster than they are."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import settings
from benchmarks.processes import cpu_s_of, find_descendants
from worker.decode.pool import DecodePool
from worker.decode.sink import WindowBlock
from worker.errors import TrackError
from worker.models import checkpoints
from worker.models.checkpoints import Checkpoint
from worker.windowing import Windowing


def windowing_of(checkpoint: Checkpoint, device: str) -> Windowing:
    """What the model reads of a track for this device: native regions for a GPU, windows at its own rate for a CPU."""
    return replace(checkpoints.load_model(checkpoint, "cpu").windowing(), native=device != "cpu")


@dataclass(frozen=True)
class Decoded:
    """What the decode processes did with some tracks."""

    windows: int
    tracks_per_s: float
    cpu_ms: float  # CPU time of the processes, a track.


class CountingSink:
    """The worker.decode.sink.Sink of all tracks: counts their windows and gives the memory back at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.ended_tracks, self.window_count = 0, 0
        self.errors: list[TrackError] = []

    def windows(self, block: WindowBlock) -> None:
        """Some windows of a track."""
        with self._changed:
            self.window_count += block.windows
        block.release()

    def end(self) -> None:
        """A track is read."""
        with self._changed:
            self.ended_tracks += 1
            self._changed.notify_all()

    def failed(self, error: TrackError) -> None:
        """A track cannot be read."""
        self.errors.append(error)
        self.end()

    def wait_for(self, tracks: int) -> None:
        """Wait until so many tracks have ended. Raises the first TrackError there was."""
        with self._changed:
            self._changed.wait_for(lambda: self.ended_tracks == tracks)
        if self.errors:
            raise self.errors[0]


class DecodeProcesses:
    """Decode processes that have started and decoded the tracks of `warm_up`. Close them.

    windowing: what they read of a track. count: how many there are; 0: as many as a worker has on this machine.
    reading_ahead: whether the system is asked for the files before the processes need them, as it is in a worker.
    """

    def __init__(
        self, windowing: Windowing, warm_up: Sequence[Path], count: int = 0, *, reading_ahead: bool = True
    ) -> None:
        config = settings.load()
        self._windowing = windowing
        self._pool = DecodePool(count or config.decode_processes_for(config.device), native=windowing.native)
        if not reading_ahead:
            for process in find_descendants("worker.decode.readahead"):
                process.kill()  # The pool does without it.
        self.decode(warm_up)

    def decode(self, tracks: Sequence[Path]) -> Decoded:
        """Decode all of these tracks. Raises TrackError when one cannot be read."""
        sink, cpu_before_s, began = CountingSink(), decode_cpu_s(), time.perf_counter()
        for track in tracks:
            self._pool.submit(bytes(track), self._windowing, sink)
        sink.wait_for(len(tracks))
        wall_s, cpu_s = time.perf_counter() - began, decode_cpu_s() - cpu_before_s
        return Decoded(sink.window_count, len(tracks) / wall_s, cpu_s / len(tracks) * 1e3)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()


def decode_cpu_s() -> float:
    """Seconds of CPU time that the decode processes of this process have used since they started."""
    return cpu_s_of(find_descendants("worker.decode.child"))
