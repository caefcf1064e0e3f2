"""What people ask of runs: how far they are, and what failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict, cast

from sqlalchemy import Connection, Select, exists, func, select
from sqlalchemy.orm import aliased

from db.filters import FAILED, SCORED, Filter, match_analysis, match_tracks
from db.parts import join_paths
from db.prepared import prepared
from db.runs import Counts, count_run
from db.tables import Job, JobStatus, Library, Model, Prediction, Run, RunLibrary, Track

NO_LIMIT = 2**63 - 1  # A number of rows that no table has.


class ErrorRow(TypedDict):
    """A track that could not be analysed."""

    path: bytes  # Absolute.
    code: str
    detail: str
    model: str
    status: str  # "failed" or "quarantined".
    attempts: int  # How often a worker tried.
    finished_at: datetime


@dataclass(frozen=True)
class RunReport:
    """A run, and how far it is."""

    id: int
    model: str
    coverage: str
    libraries: tuple[bytes, ...]  # The roots of its libraries, or the folders of which it is.
    started_at: datetime
    finished_at: datetime | None
    counts: Counts
    jobs_queued: int
    jobs_running: int


def read_errors(connection: Connection, filter: Filter) -> Iterator[ErrorRow]:
    """The tracks that failed or are quarantined, in the order of their paths.

    A track whose newest analysis has scores is none of them, unless the filter asks for the one that failed.
    """
    for row in connection.execute(_select_errors(connection, filter)).mappings():
        yield cast("ErrorRow", dict(row))


def count_errors(connection: Connection, filter: Filter) -> int:
    """How many rows read_errors has."""
    rows = _select_errors(connection, filter).order_by(None).subquery()
    return connection.execute(select(func.count()).select_from(rows)).scalar_one()


def _select_errors(connection: Connection, filter: Filter) -> Select[*tuple[object, ...]]:
    query = (
        select(
            (Library.root + b"/" + Track.path).label("path"),
            Prediction.error_code.label("code"),
            Prediction.error_detail.label("detail"),
            Model.name.label("model"),
            Prediction.status,
            Prediction.attempts,
            Prediction.finished_at,
        )
        .join(Track, Track.id == Prediction.track_id)
        .join(Library, Library.id == Track.library_id)
        .join(Model, Model.id == Prediction.model_id)
        .where(*match_tracks(connection, filter), *match_analysis(connection, filter, FAILED))
        .order_by(Library.root, Track.path)
        .limit(filter.limit)
    )
    if filter.model is None and filter.coverage is None and filter.run is None:
        scored = aliased(Prediction)
        query = query.where(~exists().where(scored.track_id == Track.id, scored.is_newest, scored.status.in_(SCORED)))
    return query


def read_runs(connection: Connection, limit: int | None) -> list[RunReport]:
    """The runs, the newest first."""
    return [_report_run(connection, *run) for run in _select_runs(connection, NO_LIMIT if limit is None else limit)]


def read_run(connection: Connection, run_id: int) -> RunReport:
    """One run."""
    return _report_run(connection, *_select_run(connection, run_id).one())


def _report_run(
    connection: Connection, run_id: int, model: str, coverage: str, started_at: datetime, finished_at: datetime | None
) -> RunReport:
    jobs: dict[str, int] = dict(_count_jobs(connection, run_id).all())
    return RunReport(
        id=run_id,
        model=model,
        coverage=coverage,
        libraries=tuple(join_paths(*row) for row in _select_folders(connection, run_id)),
        started_at=started_at,
        finished_at=finished_at,
        counts=count_run(connection, run_id),
        jobs_queued=jobs.get(JobStatus.QUEUED, 0),
        jobs_running=jobs.get(JobStatus.RUNNING, 0),
    )


@prepared
def _select_runs(limit: int) -> Select[int, str, str, datetime, datetime | None]:
    return _select_run_columns().order_by(Run.id.desc()).limit(limit)


@prepared
def _select_run(run_id: int) -> Select[int, str, str, datetime, datetime | None]:
    return _select_run_columns().where(Run.id == run_id)


def _select_run_columns() -> Select[int, str, str, datetime, datetime | None]:
    return select(Run.id, Model.name, Run.coverage, Run.started_at, Run.finished_at).join(
        Model, Model.id == Run.model_id
    )


@prepared
def _select_folders(run_id: int) -> Select[bytes, bytes]:
    return (
        select(Library.root, RunLibrary.path)
        .join(RunLibrary, RunLibrary.library_id == Library.id)
        .where(RunLibrary.run_id == run_id)
        .order_by(Library.root, RunLibrary.path)
    )


@prepared
def _count_jobs(run_id: int) -> Select[str, int]:
    return select(Job.status, func.count()).where(Job.run_id == run_id).group_by(Job.status)
