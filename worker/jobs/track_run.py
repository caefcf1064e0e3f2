"""One track on its way through the worker: windows from the decoder, probabilities from the engine, one outcome."""

import math
import threading
import time
from dataclasses import dataclass

import numpy as np

from db.jobs import ClaimedJob, ClaimedTrack
from db.outcomes import Outcome
from worker.decode.pool import WindowBlock
from worker.errors import TrackError, UnclassifiableError
from worker.inference.engine import Engine
from worker.inference.requests import WindowRequest
from worker.jobs.peak_pass import HeldBlock
from worker.jobs.result_writer import ResultWriter


@dataclass(frozen=True)
class LoadedModel:
    """A model in this process: its engine, and the ids of its genres in the order of its probabilities."""

    engine: Engine
    genre_ids: tuple[int, ...]


class JobProgress:
    """Counts the tracks of a job as they are stored."""

    def __init__(self):
        self._changed = threading.Condition()
        self._wanted = 0  # tracks stored, before which nobody has to be woken
        self.stored = 0
        self.failed = 0
        self.error: Exception | None = None
        self.moved_at = time.monotonic()

    def add(self, failed: bool, error: Exception | None) -> None:
        """A track was stored, or could not be."""
        with self._changed:
            self.stored += 1
            self.failed += failed
            self.error = self.error or error
            self.moved_at = time.monotonic()
            if self.stored >= self._wanted:
                self._changed.notify_all()

    def wait(self, tracks: int, timeout_s: float) -> bool:
        """Whether so many tracks are stored within the time."""
        with self._changed:
            self._wanted = tracks
            return self._changed.wait_for(lambda: self.stored >= tracks, timeout_s)


class TrackRun:
    """The sink of one track's windows: when all are scored, the mean goes to the writer."""

    def __init__(
        self, job: ClaimedJob, track: ClaimedTrack, loaded: LoadedModel, writer: ResultWriter, progress: JobProgress
    ):
        self.job, self.track, self.loaded, self.writer, self.progress = job, track, loaded, writer, progress
        self._lock = threading.Lock()
        self._sum = np.zeros(len(loaded.genre_ids))  # float64: a long track has thousands of windows
        self._waiting = 0  # windows in the engine
        self._scored = 0  # windows
        self._ended = False
        self._error: TrackError | None = None
        self._began = time.monotonic()
        self.peak = math.nan  # the power that is 0 dB; NaN: each window's own

    def windows(self, block: WindowBlock | HeldBlock) -> None:
        """From the decoder."""
        request = WindowRequest(
            block.pcm, block.release, self._add, self._refuse, block.frames, self.peak, native=block.native
        )
        with self._lock:
            self._waiting += request.windows
        self.loaded.engine.submit(request)

    def end(self) -> None:
        """From the decoder: that was all."""
        self._settle(ended=True)

    def failed(self, error: TrackError) -> None:
        """From the decoder: there will be no more."""
        self._settle(ended=True, error=error)

    def _add(self, probabilities: np.ndarray) -> None:
        if np.isfinite(probabilities).all():
            self._settle(scored=probabilities)
        else:
            self._refuse(UnclassifiableError(f"the model {self.job.model} gave no number for some of its windows"))

    def _refuse(self, error: TrackError) -> None:
        self._settle(error=error, ended=True)

    def _settle(self, ended=False, error=None, scored=()) -> None:
        with self._lock:
            was_over = self._is_over()
            self._ended |= ended
            self._error = self._error or error
            self._waiting -= len(scored)
            self._scored += len(scored)
            if len(scored):
                self._sum += scored.sum(0, dtype=np.float64)
            over = self._is_over() and not was_over
        if over:
            self.writer.put(self._outcome(), self._stored)

    def _is_over(self) -> bool:
        return self._ended and (self._error is not None or self._waiting == 0)

    def _stored(self, error: Exception | None) -> None:
        self.progress.add(self._error is not None, error)

    def _outcome(self) -> Outcome:
        common = {
            "job_id": self.job.id,
            "track_id": self.track.id,
            "model_id": self.job.model_id,
            "coverage": self.job.coverage,
            "device": str(self.loaded.engine.device),
            "amp": self.loaded.engine.model.dtype != "float32",
            "windows": self._scored,
            "elapsed_ms": (time.monotonic() - self._began) * 1000,
        }
        if self._error is not None:
            return Outcome(**common, error_code=self._error.code, error_detail=str(self._error))
        mean = (self._sum / self._scored).tolist()
        return Outcome(**common, genre_ids=self.loaded.genre_ids, probabilities=mean)
