"""Jobs: claimed, renewed, finished or handed back by workers. db.pending makes them.

A worker holds a job if the job is running, has the worker's node name, and has the number of attempts that it had when
the worker claimed it. Each statement by which a worker changes its job checks all three, so that a worker that was
thought to be dead changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Update,
    and_,
    func,
    or_,
    select,
    type_coerce,
    update,
)

from db.prepared import prepared
from db.runs import finish_runs
from db.tables import (
    OPEN_STATUSES,
    Job,
    JobStatus,
    Library,
    Model,
    Prediction,
    PredictionStatus,
    Run,
    Track,
)


@dataclass(frozen=True, slots=True)
class ClaimedTrack:
    """A track of a claimed job."""

    id: int
    root: bytes  # The root of its library on the producer's host.
    path: bytes  # Relative to the root.


@dataclass(frozen=True)
class ClaimedJob:
    """A job that this worker holds as long as it renews the lease."""

    id: int
    worker: str  # The worker's node name.
    attempt: int  # 1 if no worker has lost it before.
    model: str
    version: str
    weights_sha256: str
    model_id: int
    coverage: str
    tracks: tuple[ClaimedTrack, ...]  # Those that have no outcome yet.


def claim_job(connection: Connection, job_id: int, worker: str, lease_s: float, moment: datetime) -> ClaimedJob | None:
    """Take the job for this worker, or return None when another worker holds it or it has ended.

    Of several workers that try at once, one single UPDATE that compares the status decides which one gets it.
    """
    if not _take_job(connection, job_id, worker, moment, moment + timedelta(seconds=lease_s)).rowcount:
        return None
    _start_predictions(connection, job_id)
    facts = _select_claimed_job(connection, job_id).one()
    tracks = tuple(ClaimedTrack(*row) for row in _select_claimed_tracks(connection, job_id))
    return ClaimedJob(job_id, worker, *facts, tracks)


@prepared
def _take_job(job_id: int, worker: str, moment: datetime, lease_until: datetime) -> Update:
    """Take the job if it waits for a worker, or if the lease of its worker has ended."""
    is_free = or_(Job.status == JobStatus.QUEUED, is_lapsed(moment))
    return (
        update(Job)
        .where(Job.id == job_id, is_free)
        .values(
            status=JobStatus.RUNNING,
            attempts=Job.attempts + 1,
            worker=worker,
            lease_until=lease_until,
            started_at=func.coalesce(Job.started_at, type_coerce(moment, Job.started_at.type)),
        )
    )


@prepared
def _start_predictions(job_id: int) -> Update:
    return (
        update(Prediction)
        .where(Prediction.job_id == job_id, Prediction.status.in_(OPEN_STATUSES))
        .values(status=PredictionStatus.RUNNING, attempts=Prediction.attempts + 1)
    )


@prepared
def _select_claimed_job(job_id: int) -> Select[int, str, str, str, int, str]:
    """The fields of ClaimedJob from `attempt` to `coverage`, in their order."""
    return (
        select(Job.attempts, Model.name, Model.version, Model.weights_sha256, Model.id, Run.coverage)
        .join(Run, Run.id == Job.run_id)
        .join(Model, Model.id == Run.model_id)
        .where(Job.id == job_id)
    )


@prepared
def _select_claimed_tracks(job_id: int) -> Select[int, bytes, bytes]:
    return (
        select(Track.id, Library.root, Track.path)
        .join(Prediction, Prediction.track_id == Track.id)
        .join(Library, Library.id == Track.library_id)
        .where(Prediction.job_id == job_id, Prediction.status == PredictionStatus.RUNNING)
        .order_by(Track.id)
    )


def renew_lease(connection: Connection, job: ClaimedJob, lease_s: float, moment: datetime) -> bool:
    """Hold the job for longer. Returns False when this worker does not hold it any more."""
    lease_until = moment + timedelta(seconds=lease_s)
    return bool(_update_lease(connection, job.id, job.worker, job.attempt, lease_until).rowcount)


@prepared
def _update_lease(job_id: int, worker: str, attempt: int, lease_until: datetime) -> Update:
    return update(Job).where(_is_held(job_id, worker, attempt)).values(lease_until=lease_until)


def finish_job(connection: Connection, job: ClaimedJob, moment: datetime) -> None:
    """Close the job if this worker holds it and all its tracks have an outcome. Close runs that are done by that."""
    _finish_held_job(connection, job.id, job.worker, job.attempt, moment)
    finish_runs(connection, moment)


@prepared
def _finish_held_job(job_id: int, worker: str, attempt: int, moment: datetime) -> Update:
    open_tracks = select(Prediction.track_id).where(Prediction.job_id == job_id, Prediction.status.in_(OPEN_STATUSES))
    return (
        update(Job)
        .where(_is_held(job_id, worker, attempt), ~open_tracks.exists())
        .values(status=JobStatus.DONE, finished_at=moment, lease_until=None)
    )


def hand_back_job(connection: Connection, job: ClaimedJob) -> None:
    """Give up the job as if it had not been claimed, if this worker holds it. The next worker gets its open tracks."""
    if _forget_attempt(connection, job.id, job.worker, job.attempt).rowcount:
        requeue_job(connection, job.id)


@prepared
def _forget_attempt(job_id: int, worker: str, attempt: int) -> Update:
    return update(Job).where(_is_held(job_id, worker, attempt)).values(attempts=Job.attempts - 1)


def requeue_job(connection: Connection, job_id: int) -> None:
    """Let the job wait for a worker again, with those of its tracks that have no outcome."""
    _requeue_job(connection, job_id)
    _requeue_predictions(connection, job_id)


@prepared
def _requeue_job(job_id: int) -> Update:
    return update(Job).where(Job.id == job_id).values(status=JobStatus.QUEUED, worker=None, lease_until=None)


@prepared
def _requeue_predictions(job_id: int) -> Update:
    return (
        update(Prediction)
        .where(Prediction.job_id == job_id, Prediction.status == PredictionStatus.RUNNING)
        .values(status=PredictionStatus.QUEUED)
    )


def _is_held(job_id: int, worker: str, attempt: int) -> ColumnElement[bool]:
    """Whether this is the job, and the worker holds it by this attempt."""
    return and_(Job.id == job_id, Job.status == JobStatus.RUNNING, Job.worker == worker, Job.attempts == attempt)


def is_lapsed(moment: datetime) -> ColumnElement[bool]:
    """Whether the lease of the worker that holds the job has ended."""
    return and_(Job.status == JobStatus.RUNNING, Job.lease_until < moment)
