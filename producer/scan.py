"""Folders into track rows. Incremental: a file whose size and mtime are known is not opened."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from db import tracks
from db.session import Database
from db.types import now
from producer.audio_hash import audio_hash
from producer.metadata import read_header
from producer.walk import Found, Unreadable, walk

BATCH = 500  # files to a transaction, once so many are there; the first have fewer, so that work can begin
FIRST_BATCH = 16
READERS = 8  # threads that read headers from slow storage: they wait for it, not for each other
WAITING = 2.0  # wall time over CPU time from which storage is slow


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
    with ThreadPoolExecutor(READERS, "header") as pool:
        readers = Readers(pool)
        for batch in _batches(walk(root.resolve(), exclude)):
            found = [entry for entry in batch if isinstance(entry, Found)]
            scan.unreadable += tuple((e.path, e.reason) for e in batch if isinstance(e, Unreadable))
            _store(database, scan, absolute, found, readers)
            progress(scan)
    with database.write() as connection:
        scan.missing = tracks.mark_missing(connection, scan.library_id, began, [path for path, _ in scan.unreadable])
        scan.moved = tracks.move_tracks(connection, scan.library_id, began)
    return scan


class Readers:
    """Reads files one after the other while storage is fast, since threads would only wait for the interpreter; in
    threads when the last batch took much longer than it used the CPU."""

    def __init__(self, pool: ThreadPoolExecutor):
        self._pool, self._slow = pool, False

    def read(self, root: bytes, files: Sequence[Found]) -> list[dict]:
        """The rows of these files."""
        began, cpu_began = time.perf_counter(), time.process_time()
        rows = list((self._pool.map if self._slow else map)(partial(_read, root), files))
        spent_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
        self._slow = spent_s > WAITING * cpu_s
        return rows


def _batches(entries: Iterator[Found | Unreadable]) -> Iterator[list[Found | Unreadable]]:
    size = FIRST_BATCH
    while batch := list(islice(entries, size)):
        yield batch
        size = min(2 * size, BATCH)


def _store(database: Database, scan: Scan, root: bytes, found: Sequence[Found], readers: Readers) -> None:
    paths = [file.path for file in found]
    with database.read() as connection:
        known = tracks.read_known(connection, scan.library_id, paths)
    fresh = [file for file in found if not _is_known(file, known.get(file.path))]
    rows = readers.read(root, fresh)
    with database.write() as connection:
        known = tracks.lock_known(connection, scan.library_id, paths)  # another scan may have come first
        new = [row for row in rows if row["path"] not in known]
        changed = [{**row, "id": known[row["path"]].id} for row in rows if row["path"] in known]
        same = set(paths) - {file.path for file in fresh}
        if new:
            tracks.insert_tracks(connection, scan.library_id, new, now())
        if changed:
            tracks.update_tracks(connection, changed, now())
        if same:
            tracks.touch_tracks(connection, [known[path].id for path in same], now())
    scan.seen += len(found)
    scan.new += len(new)
    scan.changed += len(changed)


def _is_known(file: Found, known: tracks.KnownTrack | None) -> bool:
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
