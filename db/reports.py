"""What people ask the database: results, genres, errors, runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, column, func, or_, select, table
from sqlalchemy.sql import Select

from db.paths import path_text
from db.runs import Counts, count_run
from db.tables import Job, JobStatus, Library, Model, Prediction, Run, RunLibrary, Status, Track

TAGS = table(
    "track_tag",
    *map(column, ("path", "title", "artist", "album", "model", "coverage", "kind", "genre", "probability", "rank")),
)


@dataclass(frozen=True)
class RunReport:
    """A run, and how far it is."""

    id: int
    model: str
    coverage: str
    libraries: tuple[bytes, ...]
    started_at: datetime
    finished_at: datetime | None
    counts: Counts
    jobs_queued: int
    jobs_running: int


@dataclass(frozen=True)
class Filter:
    """Which results: all conditions must hold; None lets everything through."""

    genre: str | None = None  # any case
    min_probability: float = 0.0  # probability
    path: str | None = None  # a part of the absolute path
    roots: tuple[bytes, ...] = ()  # libraries; none: all of them
    model: str | None = None
    kind: str = "genre"
    top: int = 3  # ranks of a track, where no genre is named


def read_runs(connection: Connection, limit: int) -> list[RunReport]:
    """The newest runs first."""
    heads = connection.execute(
        select(Run.id, Model.name, Run.coverage, Run.started_at, Run.finished_at)
        .join(Model, Model.id == Run.model_id)
        .order_by(Run.id.desc())
        .limit(limit)
    ).all()
    return [_report_run(connection, *head) for head in heads]


def read_run(connection: Connection, run_id: int) -> RunReport:
    """One run."""
    head = connection.execute(
        select(Run.id, Model.name, Run.coverage, Run.started_at, Run.finished_at)
        .join(Model, Model.id == Run.model_id)
        .where(Run.id == run_id)
    ).one()
    return _report_run(connection, *head)


def _report_run(connection: Connection, run_id, model, coverage, started_at, finished_at) -> RunReport:
    roots = connection.scalars(
        select(Library.root)
        .join(RunLibrary, RunLibrary.library_id == Library.id)
        .where(RunLibrary.run_id == run_id)
        .order_by(Library.root)
    )
    jobs = dict(
        connection.execute(select(Job.status, func.count()).where(Job.run_id == run_id).group_by(Job.status)).all()
    )
    return RunReport(
        run_id,
        model,
        coverage,
        tuple(roots),
        started_at,
        finished_at,
        count_run(connection, run_id),
        jobs.get(JobStatus.QUEUED, 0),
        jobs.get(JobStatus.RUNNING, 0),
    )


def read_results(connection: Connection, filter: Filter, limit: int | None) -> Sequence[dict]:
    """Rows of path, title, artist, model, genre, probability, rank: the most probable tracks of a genre, or each
    track's top genres."""
    query = _filtered(
        select(TAGS.c["path", "title", "artist", "album", "model", "genre", "probability", "rank"]), filter
    )
    if filter.genre is None:
        query = query.where(TAGS.c.rank <= filter.top).order_by(TAGS.c.path, TAGS.c.model, TAGS.c.rank)
    else:
        query = query.order_by(TAGS.c.probability.desc(), TAGS.c.path)
    return [dict(row) for row in connection.execute(query.limit(limit)).mappings()]


def _filtered(query: Select, filter: Filter) -> Select:
    query = query.where(TAGS.c.kind == filter.kind)
    if filter.genre is not None:
        query = query.where(func.lower(TAGS.c.genre) == filter.genre.lower())
    if filter.min_probability:
        query = query.where(TAGS.c.probability >= filter.min_probability)
    if filter.path is not None:
        query = query.where(TAGS.c.path.contains(filter.path, autoescape=True))
    if filter.roots:
        prefixes = [path_text(root) + "/" for root in filter.roots]  # not with LIKE: SQLite's ignores case
        query = query.where(or_(*(func.substr(TAGS.c.path, 1, len(prefix)) == prefix for prefix in prefixes)))
    if filter.model is not None:
        query = query.where(TAGS.c.model == filter.model)
    return query


def count_genres(connection: Connection, filter: Filter) -> Sequence[dict]:
    """Rows of genre, tracks (where it is the first one), mean probability over all tracks: the largest first."""
    tracks = func.count().filter(TAGS.c.rank == 1)
    mean = func.avg(TAGS.c.probability)
    query = select(TAGS.c.model, TAGS.c.genre, tracks.label("tracks"), mean.label("mean_probability"))
    query = _filtered(query, filter).group_by(TAGS.c.model, TAGS.c.genre)
    query = query.order_by(TAGS.c.model, tracks.desc(), mean.desc())
    return [dict(row) for row in connection.execute(query).mappings()]


def read_errors(connection: Connection, limit: int | None, run_id: int | None = None) -> Sequence[dict]:
    """Rows of path, code, detail, model, attempts, finished_at of what failed or was quarantined."""
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
        .where(Prediction.status.in_((Status.FAILED, Status.QUARANTINED)))
        .order_by(Library.root, Track.path)
    )
    if run_id is not None:
        query = query.where(Prediction.run_id == run_id)
    return [dict(row) for row in connection.execute(query.limit(limit)).mappings()]
