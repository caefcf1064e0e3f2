"""A scan brings the tracks of a library up to date with its folder. A file that has not changed is not opened."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from db import libraries, tracks
from db.parts import Part, join_paths
from db.session import Database
from db.tracks import KnownTrack, TrackFacts
from db.types import now
from producer.audio_hash import audio_hash
from producer.libraries import enter_folder
from producer.metadata import read_header
from producer.walk import Found, Unreadable, walk

FIRST_BATCH = 16  # Files in the first transaction. Each one after it has twice as many, so that work can begin early.
MAX_BATCH = 500  # Files in a transaction at most.
READER_THREADS = 8  # Threads that read files of slow storage, most of whose time is spent waiting for it.
SLOW_RATIO = 2.0  # Storage counts as slow when reading files takes this many times longer than the CPU is used.


@dataclass
class Scan:
    """What a scan of a library, or of a part of it, has seen so far, in files."""

    part: Part
    seen: int = 0
    new: int = 0
    changed: int = 0
    moved: int = 0  # Of the new and missing ones, those that turned out to be the same file.
    missing: int = 0
    unreadable: tuple[tuple[bytes, str], ...] = ()  # Files and folders of the library, each with the reason.

    @property
    def library_id(self) -> int:
        """The library that is scanned."""
        return self.part.library_id


def scan_library(
    database: Database,
    folder: Path,
    exclude: Sequence[str] = (),
    on_progress: Callable[[Scan], None] = lambda scan: None,
) -> Scan:
    """Bring the tracks below this folder up to date. If it lies in a library, only this part of the library is scanned.

    exclude: globs to leave out, of names and of paths relative to the folder. on_progress is called after each
    transaction. Raises OSError when the folder is not there.
    """
    folder = folder.resolve(strict=True)
    started_at = now()
    scan = Scan(enter_folder(database, os.fsencode(folder)))
    with database.read() as connection:
        root = libraries.read_root(connection, scan.library_id)
    with ThreadPoolExecutor(READER_THREADS, "header") as threads:
        reader = FileReader(root, threads)
        for batch in _batches(_in_part(scan.part, walk(folder, exclude))):
            scan.unreadable += tuple((entry.path, entry.reason) for entry in batch if isinstance(entry, Unreadable))
            _store(database, scan, [entry for entry in batch if isinstance(entry, Found)], reader)
            on_progress(scan)
    with database.write() as connection:
        unreadable = [path for path, _ in scan.unreadable]
        scan.missing = tracks.mark_missing(connection, scan.part, started_at, unreadable)
        scan.moved = tracks.join_moved_tracks(connection, scan.library_id, started_at)
    return scan


def _in_part(part: Part, entries: Iterator[Found | Unreadable]) -> Iterator[Found | Unreadable]:
    """The entries of a folder that is a part of a library, with paths that are relative to the library's root."""
    return (replace(entry, path=join_paths(part.path, entry.path)) for entry in entries) if part.path else entries


def _batches(entries: Iterator[Found | Unreadable]) -> Iterator[list[Found | Unreadable]]:
    """The entries in lists that grow from FIRST_BATCH to MAX_BATCH."""
    size = FIRST_BATCH
    while batch := list(islice(entries, size)):
        yield batch
        size = min(2 * size, MAX_BATCH)


def _store(database: Database, scan: Scan, files: Sequence[Found], reader: "FileReader") -> None:
    """Read those of the files that are new or changed, and enter all of them in one transaction."""
    paths = [file.path for file in files]
    with database.read() as connection:
        known = tracks.read_known_tracks(connection, scan.library_id, paths)
    to_read = [file for file in files if not _is_unchanged(file, known.get(file.path))]
    facts = reader.read(to_read)
    with database.write() as connection:
        known = tracks.lock_known_tracks(connection, scan.library_id, paths)  # Another scan may have been faster.
        new = [file for file in facts if file.path not in known]
        changed = [(known[file.path].id, file) for file in facts if file.path in known]
        unchanged = set(paths) - {file.path for file in to_read}
        tracks.insert_tracks(connection, scan.library_id, new, now())
        tracks.update_tracks(connection, changed, now())
        if unchanged:
            tracks.touch_tracks(connection, [known[path].id for path in unchanged], now())
    scan.seen += len(files)
    scan.new += len(new)
    scan.changed += len(changed)


def _is_unchanged(file: Found, known: KnownTrack | None) -> bool:
    """Whether the file need not be read again. One that could not be read before is tried again."""
    return (
        known is not None
        and known.audio_hash is not None
        and (known.size_bytes, known.mtime_ns) == (file.size_bytes, file.mtime_ns)
    )


def read_facts(root: bytes, file: Found) -> TrackFacts:
    """What the database keeps of a file of the library with this root."""
    path = root + b"/" + file.path
    header = read_header(path)
    try:
        hash_of_audio = audio_hash(path)
    except OSError:  # The worker that analyses the file will say what is wrong with it.
        hash_of_audio = None
    return TrackFacts(
        path=file.path,
        size_bytes=file.size_bytes,
        mtime_ns=file.mtime_ns,
        audio_hash=hash_of_audio,
        duration_s=header.duration_s,
        codec=header.codec,
        sample_rate=header.sample_rate,
        channels=header.channels,
        title=header.title,
        artist=header.artist,
        album_artist=header.album_artist,
        album=header.album,
        year=header.year,
        tagged_genre=header.genre,
    )


class FileReader:
    """Reads what the database keeps of files.

    While storage is fast, the files are read one after the other, since threads would only wait for Python's
    interpreter. After a batch that was slow, the next one is read by several threads.
    """

    def __init__(
        self,
        root: bytes,
        threads: ThreadPoolExecutor,
        read_facts: Callable[[bytes, Found], TrackFacts] = read_facts,
    ) -> None:
        """`read_facts` reads one file of the library with this root. It is called in any of the threads."""
        self._root = root
        self._threads = threads
        self._read_facts = read_facts
        self._is_slow = False

    def read(self, files: Sequence[Found]) -> list[TrackFacts]:
        """The facts of these files, in their order."""
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        map_files = self._threads.map if self._is_slow else map
        facts = list(map_files(partial(self._read_facts, self._root), files))
        wall_s, cpu_s = time.perf_counter() - wall_start, time.process_time() - cpu_start
        self._is_slow = wall_s > SLOW_RATIO * cpu_s
        return facts
