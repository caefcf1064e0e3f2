"""Jobs that workers lost because they died: taken back, split, or quarantined.

A file may crash every worker that opens it. To find it, a job that was lost twice is split into jobs of single tracks,
and the track of such a job is quarantined after the third loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Select, Update, select, update

from db.jobs import is_lapsed, requeue_job
from db.pending import insert_job
from db.prepared import prepared
from db.runs import finish_runs
from db.tables import OPEN_STATUSES, Job, JobStatus, Prediction, PredictionStatus

ATTEMPTS_BEFORE_SPLIT = 2  # A job of several tracks that was lost so often is split.
ATTEMPTS_BEFORE_QUARANTINE = 3  # The only track of a job that was lost so often is quarantined.


class LostJob(NamedTuple):
    """A job whose worker died. The fields are columns of the table `job`."""

    id: int
    queue: str
    attempts: int
    audio_s: float
    tracks: int


class OpenTrack(NamedTuple):
    """A track of a lost job that has no outcome, and the run that wants it now."""

    prediction_id: int
    run_id: int


def take_back_worker_jobs(connection: Connection, worker: str, moment: datetime) -> list[int]:
    """Take back all jobs that are held under this node name, whose worker is known to be dead. Returns their ids."""
    return _take_back(connection, [LostJob(*row) for row in _lock_worker_jobs(connection, worker)], moment)


@prepared
def _lock_worker_jobs(worker: str) -> Select[int, str, int, float, int]:
    return _select_jobs().where(Job.status == JobStatus.RUNNING, Job.worker == worker).with_for_update()


def take_back_lapsed_jobs(connection: Connection, moment: datetime) -> list[int]:
    """Take back the jobs whose workers have not renewed the lease in time. Returns their ids."""
    return _take_back(connection, [LostJob(*row) for row in _lock_lapsed_jobs(connection, moment)], moment)


@prepared
def _lock_lapsed_jobs(moment: datetime) -> Select[int, str, int, float, int]:
    return _select_jobs().where(is_lapsed(moment)).with_for_update()


def _select_jobs() -> Select[int, str, int, float, int]:
    """The columns of LostJob, in its order."""
    return select(Job.id, Job.queue, Job.attempts, Job.audio_s, Job.tracks)


def _take_back(connection: Connection, jobs: Sequence[LostJob], moment: datetime) -> list[int]:
    for job in jobs:
        open_tracks = [OpenTrack(*row) for row in _lock_open_tracks(connection, job.id)]
        if len(open_tracks) == 1 and job.attempts >= ATTEMPTS_BEFORE_QUARANTINE:
            _quarantine(connection, job, moment)
        elif len(open_tracks) > 1 and job.attempts >= ATTEMPTS_BEFORE_SPLIT:
            _split(connection, job, open_tracks, moment)
        else:
            requeue_job(connection, job.id)
    finish_runs(connection, moment)
    return [job.id for job in jobs]


@prepared
def _lock_open_tracks(job_id: int) -> Select[int, int]:
    """The tracks of the job that have no outcome. They are locked: their worker may be late, and still be writing."""
    return (
        select(Prediction.id, Prediction.run_id)
        .where(Prediction.job_id == job_id, Prediction.status.in_(OPEN_STATUSES))
        .order_by(Prediction.track_id)
        .with_for_update()
    )


def _quarantine(connection: Connection, job: LostJob, moment: datetime) -> None:
    """Set the only open track of the job aside, and close the job."""
    detail = f"{job.attempts} workers that took this file died; `genremill run FOLDER --retry` queues it again"
    _quarantine_predictions(connection, job.id, detail, moment)
    _close_job(connection, job.id, JobStatus.DONE, moment)


@prepared
def _quarantine_predictions(job_id: int, detail: str, moment: datetime) -> Update:
    return (
        update(Prediction)
        .where(Prediction.job_id == job_id, Prediction.status.in_(OPEN_STATUSES))
        .values(status=PredictionStatus.QUARANTINED, error_code="worker_died", error_detail=detail, finished_at=moment)
    )


def _split(connection: Connection, job: LostJob, open_tracks: Sequence[OpenTrack], moment: datetime) -> None:
    """Make a job for each open track, in the run that wants it now, and close this one."""
    _release_predictions(connection, job.id)
    for track in open_tracks:
        insert_job(connection, track.run_id, [track.prediction_id], job.audio_s / job.tracks, job.queue, moment)
    _close_job(connection, job.id, JobStatus.SPLIT, moment)


@prepared
def _release_predictions(job_id: int) -> Update:
    return (
        update(Prediction)
        .where(Prediction.job_id == job_id, Prediction.status.in_(OPEN_STATUSES))
        .values(status=PredictionStatus.PENDING)
    )


@prepared
def _close_job(job_id: int, status: JobStatus, moment: datetime) -> Update:
    return update(Job).where(Job.id == job_id).values(status=status, finished_at=moment, lease_until=None)
