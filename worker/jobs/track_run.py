"""One track of a job: its windows through the decode processes and the engine, its outcome into the database."""

import logging
import time

import numpy as np
import numpy.typing as npt

from db.jobs import ClaimedJob, ClaimedTrack
from db.outcomes import Outcome
from worker.errors import TrackError
from worker.jobs.job_progress import JobProgress
from worker.jobs.loaded_models import LoadedModel
from worker.jobs.result_writer import ResultWriter
from worker.jobs.track_sink import TrackSink, WindowMean

log = logging.getLogger(__name__)


class TrackRun:
    """Analyses one track. Give `sink` to the decode pool; the rest follows by itself.

        queued for a decode process
             │  windows()
        windows in the engine  (see TrackSink for what happens here, and in which order)
             │  the last result, or an error
        finished: the outcome, with mean probabilities or an error, is with the result writer
             │  the transaction ends
        stored: the job's progress counts the track

    Every track is finished once and stored once, whatever happens to it.
    """

    def __init__(
        self, job: ClaimedJob, track: ClaimedTrack, loaded: LoadedModel, writer: ResultWriter, progress: JobProgress
    ) -> None:
        self._job, self._track, self._loaded, self._writer, self._progress = job, track, loaded, writer, progress
        self._mean = WindowMean(len(loaded.genre_ids), job.model, loaded.engine.model.embedding_size)
        self._started_at = time.monotonic()
        self.sink = TrackSink(loaded.engine.submit, self._mean.add, self._finish)

    def _finish(self, error: TrackError | None) -> None:
        self._writer.put(
            self._make_outcome(error),
            on_stored=lambda storing_error: self._progress.add(error is not None, storing_error),
        )

    def _make_outcome(self, error: TrackError | None) -> Outcome:
        engine = self._loaded.engine
        return Outcome(
            job_id=self._job.id,
            track_id=self._track.id,
            model_id=self._job.model_id,
            coverage=self._job.coverage,
            device=str(engine.device),
            amp=engine.model.dtype != "float32",
            windows=self._mean.windows,
            elapsed_ms=(time.monotonic() - self._started_at) * 1000,
            genre_ids=() if error else self._loaded.genre_ids,
            probabilities=() if error else self._mean.mean().tolist(),
            embedding=None if error else self._pack_embedding(),
            error_code=error.code if error else None,
            error_detail=str(error) if error else None,
        )

    def _pack_embedding(self) -> bytes | None:
        """The track's embedding for the database; None when none is wanted, or when it is no vector of numbers."""
        if not self._loaded.engine.model.embedding_size:
            return None
        packed = pack_float16(self._mean.embedding())
        if packed is None:
            log.warning(
                "track %d is stored without its embedding, in which the model %s gave values that are no numbers, or "
                "too large for float16",
                self._track.id,
                self._job.model,
            )
        return packed


def pack_float16(values: npt.NDArray[np.float64]) -> bytes | None:
    """Values as float16, two bytes each, little endian; None when one is NaN, infinite or too large for float16."""
    with np.errstate(over="ignore"):
        packed = values.astype("<f2")
    return packed.tobytes() if np.isfinite(packed).all() else None
