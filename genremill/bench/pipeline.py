"""The worker's way from files to probabilities, without Celery and without a database."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

import settings
from genremill.bench.target import start_engine
from worker.decode.pool import DecodePool
from worker.errors import TrackError
from worker.inference.executors import pin
from worker.jobs.track_sink import TrackSink, WindowMean
from worker.models.checkpoints import Model


class Pipeline:
    """Decode processes and an engine, as a worker has them. The caller closes it."""

    def __init__(self, model: Model, device: str) -> None:
        config = settings.load()
        self._decoders = DecodePool(
            config.decode_processes_for(device),
            native=device != "cpu",
            deadline_s=config.decode_deadline_s,
            memory_mib=config.decode_memory_mib,
        )
        self._unpin = None if device == "cpu" else pin(self._decoders.memory)
        self._engine = start_engine(model, device)
        self._windowing = self._engine.windowing("regions")

    def analyse(self, paths: Sequence[Path]) -> list[npt.NDArray[np.float64] | None]:
        """The probabilities (labels,) of each file, the mean of its windows; None for a file that failed."""
        finished = threading.Semaphore(0)
        tracks = [_Track(self._engine.model, finished) for _ in paths]
        for path, track in zip(paths, tracks, strict=True):
            sink = TrackSink(self._engine.submit, track.mean.add, track.finish)
            self._decoders.submit(os.fsencode(path), self._windowing, sink)
        for _ in paths:
            finished.acquire()
        return [None if track.error else track.mean.mean() for track in tracks]

    def close(self) -> None:
        """Stop the decode processes and the engine."""
        self._decoders.close()
        self._engine.close()
        if self._unpin is not None:
            self._unpin()


class _Track:
    """What becomes of one file."""

    def __init__(self, model: Model, finished: threading.Semaphore) -> None:
        self.mean = WindowMean(len(model.labels), model.checkpoint.name)
        self.error: TrackError | None = None
        self._finished = finished

    def finish(self, error: TrackError | None) -> None:
        """Take note that all windows are predicted, or of the error that came before."""
        self.error = error
        self._finished.release()
