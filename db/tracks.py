"""Libraries and tracks: what the producer's scan reads and writes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from db.prepared import prepared
from db.tables import Library, Track


@dataclass(frozen=True, slots=True)
class KnownTrack:
    """What the database holds of a file that was scanned before."""

    id: int
    size_bytes: int
    mtime_ns: int
    audio_hash: str | None
    missing: bool


def put_library(connection: Connection, root: bytes) -> int:
    """The id of the library with this root, made where it is new."""
    known = _library(root)
    if (found := connection.scalar(*known)) is not None:
        return found
    try:
        with connection.begin_nested():
            return connection.execute(insert(Library), {"root": root}).inserted_primary_key[0]
    except IntegrityError:  # another producer was faster
        return connection.scalars(*known).one()


@prepared
def _library(root):
    return select(Library.id).where(Library.root == root)


def have_tracks(connection: Connection, library_ids: Sequence[int]) -> bool:
    """Whether any of these libraries was scanned before and had tracks."""
    return connection.scalar(*_have_tracks(library_ids))


@prepared
def _have_tracks(library_ids):
    return select(exists().where(Track.library_id.in_(library_ids)))


def read_known(connection: Connection, library_id: int, paths: Sequence[bytes]) -> dict[bytes, KnownTrack]:
    """Those of these files that the database holds, by path."""
    rows = connection.execute(*_known(library_id, paths))
    return {path: KnownTrack(*rest, missing=missing is not None) for path, *rest, missing in rows}


@prepared
def _known(library_id, paths):
    return select(Track.path, Track.id, Track.size_bytes, Track.mtime_ns, Track.audio_hash, Track.missing_since).where(
        Track.library_id == library_id, Track.path.in_(paths)
    )


def lock_known(connection: Connection, library_id: int, paths: Sequence[bytes]) -> dict[bytes, KnownTrack]:
    """As read_known, in a transaction that other scans of the library wait for."""
    connection.execute(*_lock_library(library_id))
    return read_known(connection, library_id, paths)


@prepared
def _lock_library(library_id):
    return select(Library.id).where(Library.id == library_id).with_for_update()


def insert_tracks(connection: Connection, library_id: int, rows: Sequence[dict], at: datetime) -> None:
    """New files. A row has path, size_bytes, mtime_ns, audio_hash and the header's facts."""
    common = {"library_id": library_id, "first_seen_at": at, "last_seen_at": at}
    connection.execute(insert(Track), [{**row, **common} for row in rows])


def update_tracks(connection: Connection, rows: Sequence[dict], at: datetime) -> None:
    """Files that changed: rows as in insert_tracks, with the track's id."""
    columns = {name: bindparam(name) for name in rows[0] if name != "id"}
    statement = update(Track).where(Track.id == bindparam("track_id")).values(**columns)
    common = {"last_seen_at": at, "missing_since": None}
    statement = statement.values(**{name: bindparam(name) for name in common})
    connection.execute(
        statement, [{"track_id": row["id"], **{k: v for k, v in row.items() if k != "id"}, **common} for row in rows]
    )


def touch_tracks(connection: Connection, ids: Sequence[int], at: datetime) -> None:
    """Files that are as they were."""
    connection.execute(update(Track).where(Track.id.in_(ids)).values(last_seen_at=at, missing_since=None))


def mark_missing(connection: Connection, library_id: int, at: datetime, spared: Iterable[bytes] = ()) -> int:
    """Tracks of the library that the scan begun at `at` did not see, but for those in `spared`, folders it could not
    read. Returns how many."""
    unseen = connection.execute(
        select(Track.id, Track.path).where(
            Track.library_id == library_id, Track.last_seen_at < at, Track.missing_since.is_(None)
        )
    )
    prefixes = tuple(folder + b"/" if folder not in (b"", b".") else b"" for folder in spared)
    files = frozenset(spared)
    gone = [{"track_id": id} for id, path in unseen if not path.startswith(prefixes) and path not in files]
    if gone:
        by_id = update(Track).where(Track.id == bindparam("track_id")).values(missing_since=at)
        connection.execute(by_id, gone)
    return len(gone)


MOVED = ("path", "size_bytes", "mtime_ns", "title", "artist", "album", "tagged_genre", "last_seen_at")


def move_tracks(connection: Connection, library_id: int, at: datetime) -> int:
    """Join a file that is new in the scan begun at `at` to the missing track with the same audio: it was moved, and
    keeps what is known of it. Returns how many."""
    old, new = aliased(Track), aliased(Track)
    pairs = connection.execute(
        select(old.id.label("old_id"), new.id.label("new_id"), *(getattr(new, name) for name in MOVED))
        .join(new, (new.audio_hash == old.audio_hash) & (new.library_id == old.library_id))
        .where(old.library_id == library_id, old.missing_since.is_not(None), new.first_seen_at >= at)
        .order_by(old.missing_since.desc(), old.id, new.id)
    ).mappings()
    old_ids, new_ids = set(), set()
    for pair in pairs.all():
        if pair["old_id"] in old_ids or pair["new_id"] in new_ids:
            continue
        old_ids.add(pair["old_id"])
        new_ids.add(pair["new_id"])
        connection.execute(delete(Track).where(Track.id == pair["new_id"]))
        moved = {name: pair[name] for name in MOVED}
        connection.execute(update(Track).where(Track.id == pair["old_id"]).values(**moved, missing_since=None))
    return len(new_ids)
