"""Libraries and tracks: what the producer's scan reads and writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import (
    Connection,
    Delete,
    Insert,
    RowMapping,
    Select,
    Text,
    Update,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    select,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from db.parts import Part, part_limits
from db.prepared import prepared, prepared_many, read_inserted_id
from db.tables import Library, Prediction, Track
from settings import GenremillError


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """What a scan reads of a file. The fields are columns of the table `track`."""

    path: bytes  # Relative to the root of the library.
    size_bytes: int
    mtime_ns: int
    audio_hash: int | None
    duration_s: float | None = None
    codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    title: str | None = None
    artist: str | None = None
    album_artist: str | None = None
    album: str | None = None
    year: int | None = None
    tagged_genre: str | None = None

    def as_row(self) -> dict[str, object]:
        """The facts by the names of their columns."""
        return {name: getattr(self, name) for name in FACTS}


FACTS = tuple(field.name for field in fields(TrackFacts))
MOVED_COLUMNS = (
    "library_id",
    "path",
    "size_bytes",
    "mtime_ns",
    "title",
    "artist",
    "album_artist",
    "album",
    "year",
    "tagged_genre",
    "last_seen_at",
)


@dataclass(frozen=True, slots=True)
class KnownTrack:
    """What the database has of a file from an earlier scan."""

    id: int
    size_bytes: int
    mtime_ns: int
    audio_hash: int | None


def put_library(connection: Connection, root: bytes) -> int:
    """The id of the library with this root, which is entered if it is new."""
    library_id = _select_library(connection, root).scalar()
    if library_id is not None:
        return library_id
    try:
        with connection.begin_nested():
            return read_inserted_id(_insert_library(connection, root))
    except IntegrityError:  # Another producer has entered it in the meantime.
        return _select_library(connection, root).scalar_one()


@prepared
def _select_library(root: bytes) -> Select[int]:
    return select(Library.id).where(Library.root == root)


@prepared
def _insert_library(root: bytes) -> Insert:
    return insert(Library).values(root=root)


def has_tracks(connection: Connection, library_ids: Sequence[int]) -> bool:
    """Whether an earlier scan of any of these libraries found a track."""
    return _select_any_track(connection, library_ids).scalar_one()


@prepared
def _select_any_track(library_ids: Sequence[int]) -> Select[bool]:
    return select(exists().where(Track.library_id.in_(library_ids)))


def has_missing_tracks(connection: Connection) -> bool:
    """Whether the file of any track is gone, in any library. It may be found somewhere else."""
    return _select_any_missing_track(connection).scalar_one()


@prepared
def _select_any_missing_track() -> Select[bool]:
    return select(exists().where(Track.missing_since.is_not(None)))


def read_known_tracks(connection: Connection, library_id: int, paths: Sequence[bytes]) -> dict[bytes, KnownTrack]:
    """What the database has of these files of the library, by path."""
    rows = _select_known_tracks(connection, library_id, paths)
    return {path: KnownTrack(id, size, mtime, audio_hash) for path, id, size, mtime, audio_hash in rows}


@prepared
def _select_known_tracks(library_id: int, paths: Sequence[bytes]) -> Select[bytes, int, int, int, int | None]:
    return select(Track.path, Track.id, Track.size_bytes, Track.mtime_ns, Track.audio_hash).where(
        Track.library_id == library_id, Track.path.in_(paths)
    )


def lock_known_tracks(connection: Connection, library_id: int, paths: Sequence[bytes]) -> dict[bytes, KnownTrack]:
    """As read_known_tracks. Other scans of the library wait until the transaction ends.

    Raises GenremillError when there is no such library any more.
    """
    if _lock_library(connection, library_id).first() is None:
        raise GenremillError("the library was merged or forgotten meanwhile: give the same command again")
    return read_known_tracks(connection, library_id, paths)


@prepared
def _lock_library(library_id: int) -> Select[int]:
    return select(Library.id).where(Library.id == library_id).with_for_update()


def insert_tracks(connection: Connection, library_id: int, tracks: Iterable[TrackFacts], seen_at: datetime) -> None:
    """Enter files that are new in the library."""
    common = {"library_id": library_id, "first_seen_at": seen_at, "last_seen_at": seen_at}
    _insert_track_rows(connection, [track.as_row() | common for track in tracks])


@prepared_many
def _insert_track_rows() -> Insert:
    return insert(Track)


def update_tracks(connection: Connection, tracks: Iterable[tuple[int, TrackFacts]], seen_at: datetime) -> None:
    """Enter what a scan has read of files that changed. Each comes with the id of its track."""
    rows = [{**facts.as_row(), "track_id": track_id, "last_seen_at": seen_at} for track_id, facts in tracks]
    _update_track_rows(connection, rows)


@prepared_many
def _update_track_rows() -> Update:
    values: dict[str, object] = {name: bindparam(name) for name in (*FACTS, "last_seen_at")}
    return update(Track).where(Track.id == bindparam("track_id")).values(**values, missing_since=None)


@prepared
def touch_tracks(track_ids: Sequence[int], seen_at: datetime) -> Update:
    """Enter that a scan has seen these tracks, whose files are unchanged."""
    return update(Track).where(Track.id.in_(track_ids)).values(last_seen_at=seen_at, missing_since=None)


def mark_missing(
    connection: Connection, part: Part, scan_started_at: datetime, unreadable: Collection[bytes] = ()
) -> int:
    """Enter that files are gone: the tracks of this part of a library that the scan did not see. Returns how many.

    A scan cannot tell what became of the `unreadable` files, nor of those in `unreadable` folders. They are left alone.
    An empty path is the library itself.
    """
    folders = tuple(path + b"/" if path else b"" for path in unreadable)
    files = frozenset(unreadable)
    unseen = _select_unseen_tracks(connection, part.library_id, *part_limits(part.path), scan_started_at)
    missing = [track_id for track_id, path in unseen if not path.startswith(folders) and path not in files]
    _set_missing_since(connection, [{"track_id": track_id, "since": scan_started_at} for track_id in missing])
    return len(missing)


@prepared
def _select_unseen_tracks(library_id: int, first: str, end: str, scan_started_at: datetime) -> Select[int, bytes]:
    path = type_coerce(Track.path, Text)
    is_unseen = and_(Track.last_seen_at < scan_started_at, Track.missing_since.is_(None))
    return select(Track.id, Track.path).where(Track.library_id == library_id, path > first, path < end, is_unseen)


@prepared_many
def _set_missing_since() -> Update:
    return update(Track).where(Track.id == bindparam("track_id")).values(missing_since=bindparam("since"))


def join_moved_tracks(connection: Connection, library_id: int, scan_started_at: datetime) -> int:
    """Find the files that were moved to where the library has them now, and let each keep its track. Returns how many.

    A file was moved if its track is missing, in this library or in another one, and the scan has entered a new one with
    the same audio. The new track is deleted, and the old one gets its library, its path and its tags. So the file keeps
    its id and its predictions.
    """
    old_ids: set[int] = set()
    new_ids: set[int] = set()
    for pair in _select_moved_tracks(connection, library_id, scan_started_at).mappings().all():
        if pair["old_id"] in old_ids or pair["new_id"] in new_ids:
            continue  # One of several copies, which another one has been paired with.
        old_ids.add(pair["old_id"])
        new_ids.add(pair["new_id"])
        _move_track(connection, pair)
    return len(new_ids)


def _move_track(connection: Connection, pair: RowMapping) -> None:
    _delete_track(connection, pair["new_id"])  # First, since no two tracks of a library may have one path.
    _update_moved_tracks(connection, [{name: pair[name] for name in ("old_id", *MOVED_COLUMNS)}])


@prepared
def _select_moved_tracks(library_id: int, scan_started_at: datetime) -> Select[*tuple[object, ...]]:
    """Pairs of a missing track and a new one with the same audio.

    Missing tracks of the same library come first, and of these the one that went missing last.

    A new track that another producer has planned meanwhile has a prediction, so it can no longer be deleted.
    """
    old, new = aliased(Track), aliased(Track)
    is_new = and_(new.first_seen_at >= scan_started_at, new.missing_since.is_(None))
    is_planned = exists().where(Prediction.track_id == new.id)
    return (
        select(old.id.label("old_id"), new.id.label("new_id"), *(getattr(new, name) for name in MOVED_COLUMNS))
        .join(new, new.audio_hash == old.audio_hash)
        .where(new.library_id == library_id, old.missing_since.is_not(None), is_new, ~is_planned)
        .order_by(old.library_id != new.library_id, old.missing_since.desc(), old.id, new.id)
    )


@prepared
def _delete_track(track_id: int) -> Delete:
    return delete(Track).where(Track.id == track_id)


@prepared_many
def _update_moved_tracks() -> Update:
    values: dict[str, object] = {name: bindparam(name) for name in MOVED_COLUMNS}
    return update(Track).where(Track.id == bindparam("old_id")).values(**values, missing_since=None)
