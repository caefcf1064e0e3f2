"""Which tracks of a report are wanted, and which one of a track's analyses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from db.parts import is_in
from db.paths import LAST_CHARACTER, path_text
from db.prepared import prepared
from db.tables import Genre, Library, Model, Prediction, PredictionStatus, Run, Track
from settings import GenremillError

SCORED = (PredictionStatus.DONE, PredictionStatus.DUPLICATE)  # What a prediction with scores is.
KINDS = ("genre", "mood", "era", "instrument", "voice")
FAILED = (PredictionStatus.FAILED, PredictionStatus.QUARANTINED)


@dataclass(frozen=True)
class Filter:
    """Which rows of a report are wanted. All conditions must hold; what is None or empty is no condition.

    A track may have several analyses: by several models, or with both coverages. A report has one of them. It is the
    newest of those with this `model`, this `coverage` and this `run`.

    `genre`, `min_probability`, `kind` and `top` concern scores. Errors have no scores, and ignore these conditions.
    """

    genre: str | None = None  # The name of a genre, in any case.
    min_probability: float = 0.0
    path: str | None = None  # The absolute path of a file or folder, or a part of paths, in any case (of ASCII).
    roots: tuple[bytes, ...] = ()  # Folders, by their absolute paths: only tracks in them or below them.
    model: str | None = None  # The name of a model.
    coverage: str | None = None  # "regions" or "full".
    run: int | None = None  # The number of a run: only tracks that it analysed.
    kind: str = "genre"
    top: int = 3  # How many genres of each track are wanted, if no genre is named.
    limit: int | None = None  # How many rows are wanted at most.


@prepared
def select_libraries() -> Select[int, bytes]:
    """The libraries that are there, in the order of their roots."""
    return select(Library.id, Library.root).where(Library.missing_since.is_(None)).order_by(Library.root)


def match_tracks(connection: Connection, filter: Filter) -> Iterator[ColumnElement[bool]]:
    """The conditions of the filter on the tables track and library, which have to be joined."""
    yield Track.missing_since.is_(None)
    yield Library.missing_since.is_(None)
    libraries = [(library_id, root) for library_id, root in select_libraries(connection)]
    if filter.path is not None:
        yield _match_path(libraries, filter.path)
    if filter.roots:
        folders = (condition for root in filter.roots for condition in _match_folder(libraries, root.rstrip(b"/")))
        yield or_(false(), *folders)


def _match_folder(libraries: list[tuple[int, bytes]], folder: bytes) -> Iterator[ColumnElement[bool]]:
    """Conditions of which one holds for each track that lies in this folder or below it.

    Folders are compared with the slash that follows them, so that /music2 is not taken for a part of /music.
    """
    for library_id, root in libraries:
        if is_in(root, folder):
            yield Track.library_id == library_id
        elif folder.startswith(root + b"/"):
            yield _begins_with(library_id, folder[len(root) + 1 :] + b"/")


def _match_path(libraries: list[tuple[int, bytes]], part: str) -> ColumnElement[bool]:
    """Whether a path is this one or lies below it, if this is an absolute one of a library; else whether it has it."""
    raw = part.encode("utf-8", "surrogateescape")  # Arguments of a command may have bytes that are not UTF-8.
    path = raw.rstrip(b"/")
    inside = list(_match_folder(libraries, path)) if raw.startswith(b"/") else []
    if inside:
        files = (_is_file(library_id, path[len(root) + 1 :]) for library_id, root in libraries if is_in(path, root))
        return or_(*inside, *files)
    text = raw.decode("utf-8", "backslashreplace")
    escaped = text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    whole = func.lower(type_coerce(Library.root + b"/" + Track.path, Text))
    return whole.like(func.lower(literal(f"%{escaped}%")), escape="!")


def _is_file(library_id: int, path: bytes) -> ColumnElement[bool]:
    return and_(Track.library_id == library_id, Track.path == path)


def _begins_with(library_id: int, beginning: bytes) -> ColumnElement[bool]:
    """Whether a track of the library has a relative path that begins so. The index of paths finds these tracks."""
    first = path_text(beginning)
    path = type_coerce(Track.path, Text)
    return and_(Track.library_id == library_id, path >= first, path < first + LAST_CHARACTER)


def check_filter(connection: Connection, filter: Filter) -> None:
    """Raise GenremillError for a value that nothing in the database has, which is most likely misspelt."""
    if filter.kind not in KINDS:
        raise GenremillError(f"there is no kind {filter.kind!r}: use {', '.join(KINDS)}")
    if not 0 <= filter.min_probability <= 1:
        raise GenremillError(f"there is no probability {filter.min_probability:g}: use a number from 0 to 1")
    if filter.coverage not in (None, "regions", "full"):
        raise GenremillError(f"there is no coverage {filter.coverage!r}: use regions or full")
    if filter.run is not None and not connection.execute(select(Run.id).where(Run.id == filter.run)).first():
        raise GenremillError(f"there is no run {filter.run}: `genremill status` lists the runs")
    _check_name(connection, "model", Model.name, filter.model, any_case=False)
    _check_name(connection, filter.kind, Genre.name, filter.genre, Genre.kind == filter.kind)


def _check_name(
    connection: Connection,
    what: str,
    column: InstrumentedAttribute[str],
    name: str | None,
    *conditions: ColumnElement[bool],
    any_case: bool = True,
) -> None:
    """Raise GenremillError when there are names in the column, and this is none of them."""
    if name is None:
        return
    names = connection.execute(select(column).where(*conditions).distinct().order_by(column)).scalars().all()
    known = {known.lower() for known in names} if any_case else set(names)
    if names and (name.lower() if any_case else name) not in known:
        raise GenremillError(f"there is no {what} {name!r} in the database, which has: {', '.join(names)}")


def match_analysis(
    connection: Connection, filter: Filter, statuses: tuple[PredictionStatus, ...]
) -> Iterator[ColumnElement[bool]]:
    """The conditions of the filter on the table prediction, which one analysis of a track fulfils at most.

    statuses: what the prediction has to be.
    """
    yield Prediction.status.in_(statuses)
    if filter.model is None and filter.coverage is None and filter.run is None and statuses == SCORED:
        yield Prediction.is_newest.expression
        return
    yield from _match_options(filter, Prediction)
    if _has_one_analysis(connection, filter):
        return
    newer = aliased(Prediction)
    is_newer = or_(newer.run_id > Prediction.run_id, and_(newer.run_id == Prediction.run_id, newer.id > Prediction.id))
    yield ~exists().where(
        newer.track_id == Prediction.track_id, newer.status.in_(statuses), is_newer, *_match_options(filter, newer)
    )


def _has_one_analysis(connection: Connection, filter: Filter) -> bool:
    """Whether the options leave one analysis of each track at most, so that the newest need not be looked for."""
    if filter.run is not None:
        return True
    if filter.model is None or filter.coverage is None:
        return False
    versions = select(func.count()).select_from(Model).where(Model.name == filter.model)
    return connection.execute(versions).scalar_one() <= 1


def _match_options(filter: Filter, prediction: type[Prediction]) -> Iterator[ColumnElement[bool]]:
    if filter.model is not None:
        yield prediction.model_id.in_(select(Model.id).where(Model.name == filter.model))
    if filter.coverage is not None:
        yield prediction.coverage == filter.coverage
    if filter.run is not None:
        yield prediction.run_id == filter.run
