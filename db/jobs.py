"""Jobs: made by the producer, claimed, renewed and finished by workers, taken back from workers that died."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import Connection, and_, func, insert, or_, select, type_coerce, update

from db.prepared import prepared
from db.runs import finish_runs
from db.tables import OPEN, Genre, Job, JobStatus, Library, Model, Prediction, Run, Status, Track

ATTEMPTS_BEFORE_SPLIT = 2  # a job that was lost so often is split into single tracks, to find the one that kills
ATTEMPTS_BEFORE_QUARANTINE = 3  # a single track that was lost so often is set aside


@dataclass(frozen=True, slots=True)
class PendingTrack:
    """A track to be put into a job."""

    id: int
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class ClaimedTrack:
    """A track of a claimed job."""

    id: int
    root: bytes  # the library's, as the producer sees it
    path: bytes  # relative to it


@dataclass(frozen=True)
class ClaimedJob:
    """A job that this worker holds until its lease ends."""

    id: str
    worker: str
    attempt: int
    model: str
    version: str
    weights_sha256: str
    model_id: int
    coverage: str
    tracks: tuple[ClaimedTrack, ...]  # those without an outcome


def read_pending(connection: Connection, run_id: int, limit: int) -> list[PendingTrack]:
    """Tracks of the run that are in no job, at most `limit`."""
    return [PendingTrack(*row) for row in connection.execute(*_pending(run_id, limit))]


@prepared
def _pending(run_id, limit):
    return (
        select(Track.id, Track.duration_s)
        .join(Prediction, Prediction.track_id == Track.id)
        .where(Prediction.run_id == run_id, Prediction.status == Status.PENDING)
        .order_by(Track.id)
        .limit(limit)
    )


def insert_job(
    connection: Connection, run_id: int, track_ids: Sequence[int], audio_s: float, queue: str, at: datetime
) -> str:
    """A queued job of these pending tracks of the run. Returns its id."""
    row = {
        "id": str(uuid4()),
        "run_id": run_id,
        "queue": queue,
        "status": JobStatus.QUEUED,
        "tracks": len(track_ids),
        "audio_s": audio_s,
        "attempts": 0,
        "queued_at": at,
    }
    connection.execute(insert(Job), row)
    connection.execute(*_queue_pending(run_id, track_ids, row["id"]))
    return row["id"]


@prepared
def _queue_pending(run_id, track_ids, job_id):
    return (
        update(Prediction)
        .where(Prediction.run_id == run_id, Prediction.track_id.in_(track_ids), Prediction.status == Status.PENDING)
        .values(status=Status.QUEUED, job_id=job_id)
    )


def read_queued(connection: Connection) -> dict[str, str]:
    """The queue of every queued job, by job id."""
    return dict(connection.execute(select(Job.id, Job.queue).where(Job.status == JobStatus.QUEUED)).all())


def claim_job(connection: Connection, job_id: str, worker: str, lease_s: float, at: datetime) -> ClaimedJob | None:
    """Take the job for this worker, or None when another holds it or it is done: one compare-and-set decides."""
    if not connection.execute(*_take(job_id, worker, at, at + timedelta(seconds=lease_s))).rowcount:
        return None
    connection.execute(*_begin_tracks(job_id))
    head = connection.execute(*_head(job_id)).one()
    tracks = tuple(ClaimedTrack(*row) for row in connection.execute(*_claimed_tracks(job_id)))
    return ClaimedJob(**head._mapping, tracks=tracks)


@prepared
def _take(job_id, worker, at, until):
    free = or_(Job.status == JobStatus.QUEUED, and_(Job.status == JobStatus.RUNNING, Job.lease_until < at))
    return (
        update(Job)
        .where(Job.id == job_id, free)
        .values(
            status=JobStatus.RUNNING,
            attempts=Job.attempts + 1,
            worker=worker,
            lease_until=until,
            started_at=func.coalesce(Job.started_at, type_coerce(at, Job.started_at.type)),
        )
    )


@prepared
def _begin_tracks(job_id):
    return (
        update(Prediction)
        .where(Prediction.job_id == job_id, Prediction.status.in_(OPEN))
        .values(status=Status.RUNNING, attempts=Prediction.attempts + 1)
    )


@prepared
def _head(job_id):
    return (
        select(
            Job.id,
            Job.worker,
            Job.attempts.label("attempt"),
            Model.name.label("model"),
            Model.version,
            Model.weights_sha256,
            Model.id.label("model_id"),
            Run.coverage,
        )
        .join(Run, Run.id == Job.run_id)
        .join(Model, Model.id == Run.model_id)
        .where(Job.id == job_id)
    )


@prepared
def _claimed_tracks(job_id):
    return (
        select(Track.id, Library.root, Track.path)
        .join(Prediction, Prediction.track_id == Track.id)
        .join(Library, Library.id == Track.library_id)
        .where(Prediction.job_id == job_id, Prediction.status == Status.RUNNING)
        .order_by(Track.id)
    )


def renew_lease(connection: Connection, job: ClaimedJob, lease_s: float, at: datetime) -> bool:
    """Hold the job for longer. False when it was lost to another worker."""
    held = _is_held(job.id, job.worker, job.attempt)
    renewed = connection.execute(update(Job).where(held).values(lease_until=at + timedelta(seconds=lease_s)))
    return bool(renewed.rowcount)


def _is_held(job_id, worker, attempt):
    return and_(Job.id == job_id, Job.status == JobStatus.RUNNING, Job.worker == worker, Job.attempts == attempt)


def finish_job(connection: Connection, job: ClaimedJob, at: datetime) -> None:
    """Close the job when all its tracks have an outcome, and the runs that have nothing left to do."""
    connection.execute(*_finish_held(job.id, job.worker, job.attempt, at))
    finish_runs(connection, at)


@prepared
def _finish_held(job_id, worker, attempt, at):
    waiting = select(Prediction.track_id).where(Prediction.job_id == job_id, Prediction.status.in_(OPEN))
    return (
        update(Job)
        .where(_is_held(job_id, worker, attempt), ~waiting.exists())
        .values(status=JobStatus.DONE, finished_at=at, lease_until=None)
    )


def hand_back_job(connection: Connection, job: ClaimedJob) -> None:
    """Give up the job in good order, as if it had not been claimed: what it has left waits for the next worker."""
    given_up = update(Job).where(_is_held(job.id, job.worker, job.attempt)).values(attempts=Job.attempts - 1)
    if connection.execute(given_up).rowcount:
        _requeue(connection, [job.id])


def release_leases(connection: Connection, worker: str, at: datetime) -> list[str]:
    """Take back what an earlier process of this node name held: it is dead, since the name is ours now."""
    return _take_back(connection, and_(Job.status == JobStatus.RUNNING, Job.worker == worker), at)


def take_back_lapsed(connection: Connection, at: datetime) -> list[str]:
    """Take back the jobs whose worker has not renewed its lease. Returns their ids."""
    return _take_back(connection, and_(Job.status == JobStatus.RUNNING, Job.lease_until < at), at)


def _take_back(connection: Connection, which, at: datetime) -> list[str]:
    lost = connection.execute(select(Job).where(which).with_for_update()).all()
    for job in lost:
        left = connection.execute(
            select(Prediction.track_id, Prediction.run_id)
            .where(Prediction.job_id == job.id, Prediction.status.in_(OPEN))
            .order_by(Prediction.track_id)
            .with_for_update()  # its worker may be late, not dead, and still be writing
        ).all()
        if len(left) == 1 and job.attempts >= ATTEMPTS_BEFORE_QUARANTINE:
            _quarantine(connection, job, at)
        elif len(left) > 1 and job.attempts >= ATTEMPTS_BEFORE_SPLIT:
            _split(connection, job, left, at)
        else:
            _requeue(connection, [job.id])
    finish_runs(connection, at)
    return [job.id for job in lost]


def _requeue(connection: Connection, job_ids: Sequence[str]) -> None:
    connection.execute(
        update(Job).where(Job.id.in_(job_ids)).values(status=JobStatus.QUEUED, worker=None, lease_until=None)
    )
    connection.execute(
        update(Prediction)
        .where(Prediction.job_id.in_(job_ids), Prediction.status == Status.RUNNING)
        .values(status=Status.QUEUED)
    )


def _quarantine(connection: Connection, job, at: datetime) -> None:
    detail = f"{job.attempts} workers that took this file died; `genremill run --retry` queues it again"
    connection.execute(
        update(Prediction)
        .where(Prediction.job_id == job.id, Prediction.status.in_(OPEN))
        .values(status=Status.QUARANTINED, error_code="worker_died", error_detail=detail, finished_at=at)
    )
    connection.execute(
        update(Job).where(Job.id == job.id).values(status=JobStatus.DONE, finished_at=at, lease_until=None)
    )


def _split(connection: Connection, job, left: Sequence[tuple[int, int]], at: datetime) -> None:
    """A job for each track that is left, in the run that wants it now."""
    connection.execute(
        update(Prediction)
        .where(Prediction.job_id == job.id, Prediction.status.in_(OPEN))
        .values(status=Status.PENDING, job_id=None)
    )
    for track_id, run_id in left:
        insert_job(connection, run_id, [track_id], job.audio_s / job.tracks, job.queue, at)
    connection.execute(
        update(Job).where(Job.id == job.id).values(status=JobStatus.SPLIT, finished_at=at, lease_until=None)
    )


def put_genres(
    connection: Connection, model_id: int, genres: Iterable[tuple[str, str]], features: str
) -> dict[str, int]:
    """The ids of a model's genres by name, entered with their kind where they are new."""
    connection.execute(update(Model).where(Model.id == model_id).values(features=features))
    known = set(connection.scalars(select(Genre.name).where(Genre.model_id == model_id)))
    new = [{"model_id": model_id, "name": name, "kind": kind} for name, kind in genres if name not in known]
    if new:
        connection.execute(insert(Genre), new)
    rows = connection.execute(select(Genre.name, Genre.id).where(Genre.model_id == model_id))
    return dict(rows.all())
