"""Folders into track rows. Incremental: a file whose size and mtime are known is not opened."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from db import tracks
from db.session import Database
from db.tables import now
from producer.header import read_header
from producer.identity import audio_hash
from producer.walk import Found, Unreadable, walk

BATCH = 500  # files to a transaction
READERS = 4  # threads that read headers: they wait for the disk, not for each other


@dataclass
class Scan:
    """What a scan of a library saw, in files."""

    library_id: int
    seen: int = 0
    new: int = 0
    changed: int = 0
    moved: int = 0
    missing: int = 0
    unreadable: tuple[tuple[bytes, str], ...] = ()


def scan_library(
    database: Database, root: Path, exclude: Sequence[str] = (), progress: Callable[[Scan], None] = lambda scan: None
) -> Scan:
    """Bring the tracks of the library at this folder up to date. Raises OSError when the folder is not there."""
    absolute = os.fsencode(root.resolve(strict=True))
    began = now()
    with database.write() as connection:
        scan = Scan(tracks.put_library(connection, absolute))
    with ThreadPoolExecutor(READERS, "header") as readers:
        for batch in _batches(walk(root.resolve(), exclude)):
            found = [entry for entry in batch if isinstance(entry, Found)]
            scan.unreadable += tuple((e.path, e.reason) for e in batch if isinstance(e, Unreadable))
            _store(database, scan, absolute, found, began, readers)
            progress(scan)
    with database.write() as connection:
        scan.missing = tracks.mark_missing(connection, scan.library_id, began, [path for path, _ in scan.unreadable])
        scan.moved = tracks.move_tracks(connection, scan.library_id, began)
    return scan


def _batches(entries: Iterator[Found | Unreadable]) -> Iterator[list[Found | Unreadable]]:
    while batch := list(islice(entries, BATCH)):
        yield batch


def _store(database: Database, scan: Scan, root: bytes, found: Sequence[Found], began, readers) -> None:
    with database.read() as connection:
        known = tracks.read_known(connection, scan.library_id, [file.path for file in found])
    fresh = [file for file in found if not _is_known(file, known.get(file.path))]
    rows = list(readers.map(lambda file: _read(root, file), fresh))
    new = [row for row in rows if row["path"] not in known]
    changed = [{**row, "id": known[row["path"]].id} for row in rows if row["path"] in known]
    same = {file.path for file in found} - {file.path for file in fresh}
    with database.write() as connection:
        if new:
            tracks.insert_tracks(connection, scan.library_id, new, began)
        if changed:
            tracks.update_tracks(connection, changed, began)
        if same:
            tracks.touch_tracks(connection, [known[path].id for path in same], began)
    scan.seen += len(found)
    scan.new += len(new)
    scan.changed += len(changed)


def _is_known(file: Found, known: tracks.Known | None) -> bool:
    return (
        known is not None
        and known.audio_hash is not None
        and (known.size_bytes, known.mtime_ns) == (file.size_bytes, file.mtime_ns)
    )


def _read(root: bytes, file: Found) -> dict:
    path = root + b"/" + file.path
    header = read_header(path)
    try:
        identity = audio_hash(path)
    except OSError:  # the worker will say what is wrong with it
        identity = None
    return {
        "path": file.path,
        "size_bytes": file.size_bytes,
        "mtime_ns": file.mtime_ns,
        "audio_hash": identity,
        "duration_s": header.duration_s,
        "codec": header.codec,
        "sample_rate": header.sample_rate,
        "channels": header.channels,
        "title": header.title,
        "artist": header.artist,
        "album": header.album,
        "tagged_genre": header.genre,
    }
