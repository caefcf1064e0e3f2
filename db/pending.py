"""Jobs that wait: how they are made of pending predictions, and which ones wait for a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Insert, Select, Update, insert, literal_column, select, update

from db.prepared import prepared, read_inserted_id
from db.statistics import prefer_indexes
from db.tables import Job, JobStatus, Prediction, PredictionStatus, Track


@dataclass(frozen=True, slots=True)
class PendingTrack:
    """A track that has to be put into a job."""

    prediction_id: int
    duration_s: float | None


def lock_pending_tracks(connection: Connection, run_id: int, limit: int) -> list[PendingTrack]:
    """Tracks of the run that are in no job, at most `limit` of them. Until the transaction ends they stay as they are.

    They come in no order: PostgreSQL would sort all that are pending for each call. Those that another producer is
    about to change or to put into a job are left to it.
    """
    prefer_indexes(connection)
    return [PendingTrack(*row) for row in _lock_pending_tracks(connection, run_id, limit)]


@prepared
def _lock_pending_tracks(run_id: int, limit: int) -> Select[int, float | None]:
    return (
        select(Prediction.id, Track.duration_s)
        .join(Track, Track.id == Prediction.track_id)
        .where(Prediction.run_id == run_id, Prediction.status == PredictionStatus.PENDING)
        .limit(limit)
        .with_for_update(of=Prediction, skip_locked=True)
    )


def insert_job(
    connection: Connection, run_id: int, prediction_ids: Sequence[int], audio_s: float, queue: str, moment: datetime
) -> int:
    """Make a queued job of these pending predictions, which have to be locked. Returns its id."""
    job_id = read_inserted_id(_insert_job(connection, run_id, queue, len(prediction_ids), audio_s, moment))
    _queue_predictions(connection, prediction_ids, job_id)
    return job_id


@prepared
def _insert_job(run_id: int, queue: str, tracks: int, audio_s: float, moment: datetime) -> Insert:
    return insert(Job).values(
        run_id=run_id,
        queue=queue,
        status=JobStatus.QUEUED,
        tracks=tracks,
        audio_s=audio_s,
        queued_at=moment,
    )


@prepared
def _queue_predictions(prediction_ids: Sequence[int], job_id: int) -> Update:
    """Put them into the job. They are found by their ids alone, which does not depend on how many are pending."""
    queued = {"status": PredictionStatus.QUEUED, "job_id": job_id}
    return update(Prediction).where(Prediction.id.in_(prediction_ids)).values(**queued)


def read_queued_jobs(connection: Connection, queue: str, limit: int) -> Sequence[int]:
    """The jobs of the queue that wait for a worker, the oldest ones first, at most `limit` of them."""
    prefer_indexes(connection)
    return _select_queued_jobs(connection, queue, limit).scalars().all()


@prepared
def _select_queued_jobs(queue: str, limit: int) -> Select[int]:
    """The status is a part of the text, because an index of queued jobs alone is made for this statement."""
    is_queued = Job.status == literal_column(f"'{JobStatus.QUEUED}'")
    return select(Job.id).where(is_queued, Job.queue == queue).order_by(Job.id).limit(limit)
