"""What becomes of whole libraries: they are moved, merged and forgotten, page by page."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from db import forget, libraries, tracks
from db.libraries import LibraryRow
from db.parts import Part, is_in, relative
from db.session import Database
from db.types import now
from settings import GenremillError

PAGE_TRACKS = 1000  # How many tracks are moved or deleted in one transaction, at most.

log = logging.getLogger(__name__)


def enter_folder(database: Database, folder: bytes) -> Part:
    """The folder as a part of a library. Libraries whose roots lie in each other become one.

    A folder that lies in no library becomes one itself.
    """
    with database.write() as connection:
        root = _find_outer(libraries.read_roots(connection), folder) or folder
        library_id = tracks.put_library(connection, root)
        libraries.set_there(connection, library_id)
    _merge_inner(database, root)
    return Part(library_id, relative(folder, root))


def leave_out(database: Database, folder: Path) -> None:
    """Enter that the root of a library is gone. Views leave its tracks out until a scan finds it again.

    Raises GenremillError when no library has this root.
    """
    with database.write() as connection:
        roots = libraries.read_roots(connection)
        root = next((root for root in _spellings(folder) if root in roots), None)
        if root is None:
            raise GenremillError(f"{folder} does not exist: give a folder of music")
        libraries.set_missing(connection, roots[root], now())
    log.warning("%s is gone: its tracks are left out until it is there again", folder)


def list_libraries(database: Database) -> list[tuple[LibraryRow, bool]]:
    """All libraries, and of each whether its folder is gone: as a scan has found, or as it looks from this host.

    Nothing is changed, since a host that only asks need not have the folders.
    """
    with database.read() as connection:
        rows = libraries.read_libraries(connection)
    return [(row, row.missing_since is not None or not _is_there(row.root)) for row in rows]


def _is_there(root: bytes) -> bool:
    """Whether there is a folder. One that cannot be looked at is not gone."""
    try:
        return stat.S_ISDIR(Path(os.fsdecode(root)).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _find_outer(roots: Iterable[bytes], folder: bytes) -> bytes | None:
    """The outermost of these roots in which the folder lies, or which it is."""
    return min((root for root in roots if is_in(folder, root)), key=len, default=None)


def _merge_inner(database: Database, root: bytes) -> None:
    """Let the libraries that lie in the one with this root be parts of it."""
    with database.read() as connection:
        roots = libraries.read_roots(connection)
    for inner, inner_id in roots.items():
        if inner != root and is_in(inner, root):
            _merge(database, inner_id, Part(roots[root], relative(inner, root)))


def move_library(database: Database, old: Path, new: Path) -> bytes:
    """Enter that the folder of a library is somewhere else now. Returns the root of the library that has its tracks.

    If the new folder lies in another library, or has one in it, both become one. Raises GenremillError when no library
    has the old folder, or the new one is not there.
    """
    if not new.is_dir():
        raise GenremillError(f"{new} is not a folder: move the library there first, then give this command")
    new_root = os.fsencode(new.resolve())
    with database.write() as connection:
        roots = libraries.read_roots(connection)
        old_root = _find_root(roots, old)
        source_id = roots.pop(old_root)
        if new_root == old_root:
            return old_root
        outer = _find_outer(roots, new_root)
        if outer is None:
            libraries.set_root(connection, source_id, new_root)
    if outer is not None:
        _merge(database, source_id, Part(roots[outer], relative(new_root, outer)))
    _merge_inner(database, outer or new_root)
    return outer or new_root


def _find_root(roots: dict[bytes, int], folder: Path) -> bytes:
    """The root of the library at this folder, which need not be there any more."""
    for root in _spellings(folder):
        if root in roots:
            return root
    raise GenremillError(f"no library has the folder {folder}: `genremill libraries list` has their folders")


def _spellings(folder: Path) -> list[bytes]:
    """The absolute paths that may be meant. Links that led to a folder may be gone with it."""
    return list(dict.fromkeys(os.fsencode(path) for path in (folder.resolve(), folder.absolute())))


def _merge(database: Database, source_id: int, target: Part) -> None:
    """Let the tracks of the source library belong to this place of another one. The source is deleted."""
    more = True
    while more:
        with database.write() as connection:
            more = libraries.merge_page(connection, source_id, target, PAGE_TRACKS, now())


def find_parts(database: Database, path: Path) -> list[Part]:
    """The libraries in this folder, or else the part of a library that it is. It need not be there any more.

    Raises GenremillError when no library has anything to do with it.
    """
    with database.read() as connection:
        roots = libraries.read_roots(connection)
    for spelling in _spellings(path):
        inside = [Part(id) for root, id in roots.items() if is_in(root, spelling)]
        around = [Part(id, relative(spelling, root)) for root, id in roots.items() if is_in(spelling, root)]
        if inside or around:
            return inside or around
    raise GenremillError(f"{path} belongs to no library: `genremill libraries list` has their folders")


def count_tracks(database: Database, parts: Iterable[Part]) -> int:
    """How many tracks these parts of libraries have."""
    with database.read() as connection:
        return sum(libraries.count_part(connection, part) for part in parts)


def forget_parts(database: Database, parts: Iterable[Part]) -> int:
    """Delete all that is known of the tracks of these parts, and libraries that are forgotten as a whole.

    Returns how many tracks there were.
    """
    forgotten = 0
    for part in parts:
        while True:
            with database.write() as connection:
                track_ids = libraries.read_part(connection, part, PAGE_TRACKS)
                forget.delete_tracks(connection, track_ids, now())
                if not track_ids and not part.path:
                    libraries.delete_library(connection, part.library_id)
            forgotten += len(track_ids)
            if not track_ids:
                break
    return forgotten


def prune(database: Database, missing_since: datetime) -> int:
    """Delete all that is known of tracks that have been missing since this moment at least. Returns how many."""
    pruned = 0
    with database.read() as connection:
        library_ids = sorted(libraries.read_roots(connection).values())
    for library_id in library_ids:
        last_id = 0
        while True:
            with database.write() as connection:
                track_ids = libraries.read_missing(connection, library_id, missing_since, last_id, PAGE_TRACKS)
                forget.delete_tracks(connection, track_ids, now())
            if not track_ids:
                break
            pruned += len(track_ids)
            last_id = track_ids[-1]
    return pruned
