"""Libraries as a whole: what there is of each, and how they are moved, merged and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Connection,
    Delete,
    Insert,
    Select,
    Text,
    Update,
    bindparam,
    delete,
    func,
    insert,
    select,
    type_coerce,
    update,
)

from db.joining import Pair, join_tracks
from db.parts import Part, join_paths, part_limits
from db.prepared import prepared, prepared_many
from db.runs import lock_libraries
from db.statistics import prefer_indexes
from db.tables import Library, RunLibrary, Track


@dataclass(frozen=True, slots=True)
class LibraryRow:
    """A library, and how many tracks it has."""

    id: int
    root: bytes
    tracks: int  # Those whose files are there.
    missing: int  # Those whose files are gone.
    scanned_at: datetime | None  # When a scan saw one of its files for the last time.
    missing_since: datetime | None  # When it was found that the root is gone.


def read_libraries(connection: Connection) -> list[LibraryRow]:
    """All libraries, in the order of their roots."""
    return [LibraryRow(*row) for row in _select_libraries(connection)]


@prepared
def _select_libraries() -> Select[int, bytes, int, int, datetime | None, datetime | None]:
    is_there = Track.missing_since.is_(None)
    return (
        select(
            Library.id,
            Library.root,
            func.count(Track.id).filter(is_there),
            func.count(Track.id).filter(~is_there),
            type_coerce(func.max(Track.last_seen_at), Track.last_seen_at.type),
            Library.missing_since,
        )
        .outerjoin(Track, Track.library_id == Library.id)
        .group_by(Library.id, Library.root, Library.missing_since)
        .order_by(Library.root)
    )


@prepared
def set_missing(library_id: int, moment: datetime) -> Update:
    """Enter that the root of the library is gone. When it went missing stays as it is known."""
    is_there = Library.missing_since.is_(None)
    return update(Library).where(Library.id == library_id, is_there).values(missing_since=moment)


@prepared
def set_there(library_id: int) -> Update:
    """Enter that the root of the library is there."""
    is_missing = Library.missing_since.is_not(None)
    return update(Library).where(Library.id == library_id, is_missing).values(missing_since=None)


def read_roots(connection: Connection) -> dict[bytes, int]:
    """The id of each library by its root, the outer roots before those that lie in them."""
    return {root: id for id, root in _select_roots(connection)}


@prepared
def _select_roots() -> Select[int, bytes]:
    return select(Library.id, Library.root).order_by(Library.root)


def read_root(connection: Connection, library_id: int) -> bytes:
    """The root of the library."""
    return _select_root(connection, library_id).scalar_one()


@prepared
def _select_root(library_id: int) -> Select[bytes]:
    return select(Library.root).where(Library.id == library_id)


@prepared
def set_root(library_id: int, root: bytes) -> Update:
    """Enter where the folder of the library is now."""
    return update(Library).where(Library.id == library_id).values(root=root, missing_since=None)


def read_part(connection: Connection, part: Part, limit: int) -> list[int]:
    """Tracks of this file or below this folder of the library, at most `limit` of them. Other producers wait."""
    prefer_indexes(connection)
    lock_libraries(connection, [part.library_id])
    inside = _select_part(connection, part.library_id, *part_limits(part.path), limit).scalars().all()
    return [*_select_file(connection, *part).scalars(), *inside]


@prepared
def _select_part(library_id: int, first: str, end: str, limit: int) -> Select[int]:
    path = type_coerce(Track.path, Text)
    return select(Track.id).where(Track.library_id == library_id, path > first, path < end).order_by(path).limit(limit)


@prepared
def _select_file(library_id: int, path: bytes) -> Select[int]:
    return select(Track.id).where(Track.library_id == library_id, Track.path == path)


def count_part(connection: Connection, part: Part) -> int:
    """How many tracks read_part gives in the end."""
    inside = _count_part(connection, part.library_id, *part_limits(part.path)).scalar_one()
    return inside + len(_select_file(connection, *part).all())


@prepared
def _count_part(library_id: int, first: str, end: str) -> Select[int]:
    path = type_coerce(Track.path, Text)
    return select(func.count()).select_from(Track).where(Track.library_id == library_id, path > first, path < end)


def read_missing(connection: Connection, library_id: int, before: datetime, after_id: int, limit: int) -> Sequence[int]:
    """Tracks of the library that have been missing since before this moment, by id. Other producers wait."""
    lock_libraries(connection, [library_id])
    return _select_missing(connection, library_id, before, after_id, limit).scalars().all()


@prepared
def _select_missing(library_id: int, before: datetime, after_id: int, limit: int) -> Select[int]:
    return (
        select(Track.id)
        .where(Track.library_id == library_id, Track.missing_since <= before, Track.id > after_id)
        .order_by(Track.id)
        .limit(limit)
    )


def delete_library(connection: Connection, library_id: int) -> None:
    """Delete a library that has no tracks any more."""
    _delete_run_libraries(connection, library_id)
    _delete_library(connection, library_id)


@prepared
def _delete_run_libraries(library_id: int) -> Delete:
    return delete(RunLibrary).where(RunLibrary.library_id == library_id)


@prepared
def _delete_library(library_id: int) -> Delete:
    return delete(Library).where(Library.id == library_id)


def merge_page(connection: Connection, source_id: int, target: Part, limit: int, moment: datetime) -> bool:
    """Let some tracks of the source library belong to this folder of another one. Returns whether there may be more.

    Tracks of the same file become one. When no track is left, the runs of the source become runs of that folder, and
    the source is deleted.
    """
    prefer_indexes(connection)
    lock_libraries(connection, [source_id, target.library_id])
    page = {join_paths(target.path, path): id for id, path in _select_paths(connection, source_id, limit)}
    if not page:
        _merge_runs(connection, source_id, target)
        delete_library(connection, source_id)
        return False
    taken = {path: id for id, path in _select_taken(connection, target.library_id, list(page))}
    free = [
        {"track_id": id, "to": target.library_id, "new_path": path} for path, id in page.items() if path not in taken
    ]
    _move_tracks(connection, free)
    join_tracks(connection, [Pair(page[path], id) for path, id in taken.items()], moment)
    return True


@prepared
def _select_paths(library_id: int, limit: int) -> Select[int, bytes]:
    return select(Track.id, Track.path).where(Track.library_id == library_id).order_by(Track.path).limit(limit)


@prepared
def _select_taken(library_id: int, paths: Sequence[bytes]) -> Select[int, bytes]:
    return select(Track.id, Track.path).where(Track.library_id == library_id, Track.path.in_(paths))


@prepared_many
def _move_tracks() -> Update:
    values: dict[str, object] = {"library_id": bindparam("to"), "path": bindparam("new_path")}
    return update(Track).where(Track.id == bindparam("track_id")).values(**values)


def _merge_runs(connection: Connection, source_id: int, target: Part) -> None:
    """Let the runs of a library be runs of this folder of another one."""
    known = {tuple(row) for row in _select_runs(connection, target.library_id)}
    rows = [(run_id, join_paths(target.path, path)) for run_id, path in _select_runs(connection, source_id)]
    new = [row for row in rows if row not in known]
    _insert_runs(
        connection, [{"run_id": run_id, "library_id": target.library_id, "path": path} for run_id, path in new]
    )


@prepared
def _select_runs(library_id: int) -> Select[int, bytes]:
    return select(RunLibrary.run_id, RunLibrary.path).where(RunLibrary.library_id == library_id)


@prepared_many
def _insert_runs() -> Insert:
    return insert(RunLibrary)
