"""What people ask the database: results, genres, errors, and how far runs are.

Results, genres and errors take a Filter. Their statements are built for each call, since they depend on which of its
conditions are set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict, cast

from sqlalchemy import ColumnElement, Connection, Select, Text, column, func, literal, or_, select, table, type_coerce

from db.paths import path_text
from db.prepared import prepared
from db.runs import Counts, count_run
from db.tables import Job, JobStatus, Library, Model, Prediction, PredictionStatus, Run, RunLibrary, Track

NO_LIMIT = 2**63 - 1  # A number of rows that no table has.


@dataclass(frozen=True)
class Filter:
    """Which rows of a report are wanted. All conditions must hold; what is None or empty is no condition.

    `genre`, `min_probability`, `kind` and `top` concern scores. Errors have no scores, and ignore these conditions.
    """

    genre: str | None = None  # The name of a genre, in any case.
    min_probability: float = 0.0
    path: str | None = None  # A part of the absolute path as text. The case of ASCII letters is ignored.
    roots: tuple[bytes, ...] = ()  # Folders, by their absolute paths: only tracks in them or below them.
    model: str | None = None  # The name of a model.
    coverage: str | None = None  # "regions" or "full".
    kind: str = "genre"
    top: int = 3  # How many genres of each track are wanted, if no genre is named.
    limit: int | None = None  # How many rows are wanted at most.


class ResultRow(TypedDict):
    """A genre of a track."""

    path: str  # Absolute, as text.
    title: str | None
    artist: str | None
    album: str | None
    model: str
    genre: str
    probability: float
    rank: int  # 1 is the most probable genre of the track.


class GenreRow(TypedDict):
    """A genre, and how many tracks have it."""

    model: str
    genre: str
    tracks: int  # Those whose most probable genre it is.
    mean_probability: float  # Over all tracks.


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
    libraries: tuple[bytes, ...]  # Their roots.
    started_at: datetime
    finished_at: datetime | None
    counts: Counts
    jobs_queued: int
    jobs_running: int


# The view whose rows are the genres of tracks.
VIEW = table("track_tag", *map(column, (*ResultRow.__annotations__, "coverage", "kind")))


def read_results(connection: Connection, filter: Filter) -> list[ResultRow]:
    """The most probable tracks of the filter's genre, or the most probable genres of each track if it names none."""
    rows = connection.execute(_select_results(filter)).mappings()
    return [cast("ResultRow", dict(row)) for row in rows]


def _select_results(filter: Filter) -> Select[*tuple[object, ...]]:
    columns = VIEW.c
    wanted = (columns[name] for name in ResultRow.__annotations__)
    query = select(*wanted).where(*_match_scores(filter)).limit(filter.limit)
    if filter.genre is None:
        return query.where(columns["rank"] <= filter.top).order_by(columns.path, columns.model, columns["rank"])
    return query.order_by(columns.probability.desc(), columns.path)


def count_genres(connection: Connection, filter: Filter) -> list[GenreRow]:
    """The genres that the tracks have, by model, those with the most tracks first."""
    rows = connection.execute(_select_genre_counts(filter)).mappings()
    return [cast("GenreRow", dict(row)) for row in rows]


def _select_genre_counts(filter: Filter) -> Select[*tuple[object, ...]]:
    columns = VIEW.c
    tracks = func.count().filter(columns["rank"] == 1)
    mean = func.avg(columns.probability)
    return (
        select(columns.model, columns.genre, tracks.label("tracks"), mean.label("mean_probability"))
        .where(*_match_scores(filter))
        .group_by(columns.model, columns.genre)
        .order_by(columns.model, tracks.desc(), mean.desc())
        .limit(filter.limit)
    )


def read_errors(connection: Connection, filter: Filter, run_id: int | None = None) -> list[ErrorRow]:
    """The tracks that failed or are quarantined, of all runs or of one, in the order of their paths."""
    rows = connection.execute(_select_errors(filter, run_id)).mappings()
    return [cast("ErrorRow", dict(row)) for row in rows]


def _select_errors(filter: Filter, run_id: int | None) -> Select[*tuple[object, ...]]:
    path = Library.root + b"/" + Track.path
    query = (
        select(
            path.label("path"),
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
        .where(Prediction.status.in_((PredictionStatus.FAILED, PredictionStatus.QUARANTINED)))
        .where(*_match_track(filter, type_coerce(path, Text), Model.name.expression, Prediction.coverage.expression))
        .order_by(Library.root, Track.path)
        .limit(filter.limit)
    )
    return query if run_id is None else query.where(Prediction.run_id == run_id)


def _match_scores(filter: Filter) -> Iterator[ColumnElement[bool]]:
    """The conditions of the filter on rows of the view."""
    columns = VIEW.c
    yield from _match_track(filter, columns.path, columns.model, columns.coverage)
    yield columns.kind == filter.kind
    if filter.genre is not None:
        yield func.lower(columns.genre) == func.lower(filter.genre)
    if filter.min_probability:
        yield columns.probability >= filter.min_probability


def _match_track(
    filter: Filter, path: ColumnElement[str], model: ColumnElement[str], coverage: ColumnElement[str]
) -> Iterator[ColumnElement[bool]]:
    """The conditions of the filter on tracks and their analyses, which results and errors have in common."""
    if filter.path is not None:
        yield _contains(path, filter.path)
    if filter.roots:
        yield or_(*(_is_below(path, root) for root in filter.roots))
    if filter.model is not None:
        yield model == filter.model
    if filter.coverage is not None:
        yield coverage == filter.coverage


def _is_below(path: ColumnElement[str], root: bytes) -> ColumnElement[bool]:
    """Whether an absolute path lies in this folder or below it.

    The folder's name must be followed by a slash, so that /music2 is not taken for a part of /music. SQL's LIKE would
    not do: in SQLite it ignores case, and it takes % and _ for wildcards.
    """
    prefix = path_text(root.rstrip(b"/")) + "/"
    return func.substr(path, 1, len(prefix)) == prefix


def _contains(path: ColumnElement[str], part: str) -> ColumnElement[bool]:
    """Whether a path as text has this part, whatever the case of ASCII letters."""
    raw = part.encode("utf-8", "surrogateescape")  # Arguments of a command may have bytes that are not UTF-8.
    text = raw.decode("utf-8", "backslashreplace")
    escaped = text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return func.lower(path).like(func.lower(literal(f"%{escaped}%")), escape="!")


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
        libraries=tuple(_select_roots(connection, run_id).scalars()),
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
def _select_roots(run_id: int) -> Select[bytes]:
    return (
        select(Library.root)
        .join(RunLibrary, RunLibrary.library_id == Library.id)
        .where(RunLibrary.run_id == run_id)
        .order_by(Library.root)
    )


@prepared
def _count_jobs(run_id: int) -> Select[str, int]:
    return select(Job.status, func.count()).where(Job.run_id == run_id).group_by(Job.status)
