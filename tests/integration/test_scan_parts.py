"""Folders that lie in each other are one library, and files may be moved from one library to another."""

import os
from pathlib import Path

import pytest

from db import tracks
from db.integrity import find_problems
from db.tracks import TrackFacts
from db.types import now
from producer.enqueue import enqueue
from producer.order import Order, check_roots, split_gone
from producer.scan import Scan, scan_library
from settings import GenremillError
from tests.integration.rows import analyse, counts, plan, rows
from tests.integration.test_scan import bound_by_permissions
from worker.models.checkpoints import find_checkpoint

FILES = ("album/0.wav", "album/1.wav", "album/below/2.wav", "more/3.wav", "more/4.wav")


@pytest.fixture
def root(tmp_path):
    """A folder with files in folders. Nothing here looks for audio in them."""
    for name in FILES:
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"audio of {name}")
    return tmp_path / "music"


def scan(database, folder: Path) -> tuple[Scan, dict[str, int]]:
    """What a scan says, and its counts."""
    found = scan_library(database, folder)
    return found, {name: value for name, value in vars(found).items() if value and isinstance(value, int)}


def order_of(*folders: Path) -> Order:
    there, gone = split_gone(folders)
    return Order(check_roots(there), find_checkpoint("musicnn"), "regions", gone=gone)


def test_a_folder_of_a_library_is_a_part_of_it(database, root):
    scan(database, root)
    ids = dict(rows(database, "SELECT path, id FROM track"))
    (root / "more/3.wav").rename(root / "more/moved.wav")
    for name in ("more/4.wav", "album/0.wav", "album/below/2.wav"):
        (root / name).unlink()
    found, seen = scan(database, root / "more")
    assert (found.part, seen) == ((1, b"more"), {"seen": 1, "new": 1, "missing": 2, "moved": 1})
    ids["more/moved.wav"] = ids.pop("more/3.wav")
    assert dict(rows(database, "SELECT path, id FROM track")) == ids
    assert rows(database, "SELECT path FROM track WHERE missing_since IS NOT NULL") == [("more/4.wav",)]
    found, seen = scan(database, root / "album/below")
    assert (found.part, seen) == ((1, b"album/below"), {"missing": 1})
    assert rows(database, "SELECT root FROM library") == [(str(root),)]


def test_a_folder_that_cannot_be_read_spares_its_tracks_in_a_scan_of_a_part(database, root):
    scan(database, root)
    (root / "album/below").chmod(0)
    with bound_by_permissions():
        found, seen = scan(database, root / "album")
    (root / "album/below").chmod(0o755)
    assert found.unreadable == ((b"album/below", "Permission denied"),)
    assert seen == {"seen": 2}


def test_a_folder_around_libraries_is_their_library(database, root):
    album = scan_library(database, root / "album").library_id
    analyse(database, plan(database, album))
    scan(database, root / "more")
    assert rows(database, "SELECT count(*) FROM library") == [(2,)]
    (root / "5.wav").write_text("audio of its own")
    found, seen = scan(database, root)
    assert seen == {"seen": 6, "new": 1}
    assert rows(database, "SELECT root FROM library") == [(str(root),)]
    assert rows(database, "SELECT library_id, path FROM run_library") == [(found.library_id, "album")]
    assert counts(database, plan(database, found.library_id)) == {"found": 6, "skipped": 3, "pending": 3}


def test_libraries_that_lie_in_each_other_become_one(database, root):
    """As an earlier genremill has left them: a file has two tracks."""
    analyse(database, plan(database, scan_library(database, root).library_id))
    facts = [TrackFacts(b"0.wav", 1, 1, 7), TrackFacts(b"only-here.wav", 1, 1, 8)]
    with database.write() as connection:
        inner = tracks.put_library(connection, os.fsencode(root / "album"))
        tracks.insert_tracks(connection, inner, facts, now())
    plan(database, inner)
    found, seen = scan(database, root / "album")
    assert (found.part, seen) == ((1, b"album"), {"seen": 3, "changed": 1, "missing": 1})
    assert rows(database, "SELECT count(*), count(missing_since) FROM track WHERE library_id = 1") == [(6, 1)]
    assert list(find_problems(database)) == []
    assert counts(database, plan(database, 1)) == {"found": 5, "skipped": 5}


def test_a_folder_of_nearly_the_same_name_is_another_library(database, root):
    scan(database, root / "more")
    (root / "more-2").mkdir()
    scan(database, root / "more-2")
    assert rows(database, "SELECT count(*) FROM library") == [(2,)]


def test_another_spelling_of_a_folder_is_the_same_library(database, root, tmp_path):
    scan(database, root)
    (tmp_path / "link").symlink_to(root / "more")
    found, seen = scan(database, tmp_path / "link")
    assert (found.part, seen) == ((1, b"more"), {"seen": 2})


@pytest.mark.parametrize("names", [("album", "more"), ("more", "album")])
def test_a_file_that_was_moved_between_libraries_keeps_its_track(database, root, names):
    analyse(database, plan(database, *(scan_library(database, root / name).library_id for name in names)))
    ids = dict(rows(database, "SELECT path, id FROM track"))
    (root / "album/0.wav").rename(root / "more/moved.wav")
    enqueue(database, order_of(*(root / name for name in names)), followed=True)
    ids["moved.wav"] = ids.pop("0.wav")
    assert dict(rows(database, "SELECT path, id FROM track")) == ids
    assert rows(database, "SELECT count(*) FROM track WHERE missing_since IS NOT NULL") == [(0,)]
    moved = (
        f"SELECT library.root FROM track JOIN library ON library.id = library_id WHERE track.id = {ids['moved.wav']}"
    )
    assert rows(database, moved) == [(str(root / "more"),)]


def test_a_file_that_was_moved_into_a_new_library_keeps_its_track(database, root, monkeypatch):
    """A first scan queues jobs while it goes on, but not if a file that it finds may be one of those that are gone."""
    monkeypatch.setattr("producer.enqueue.HEAD_START_FILES", 1)
    scan(database, root / "album")
    (root / "album/0.wav").rename(root / "more/moved.wav")
    scan(database, root / "album")
    enqueue(database, order_of(root / "more"), followed=True)
    assert rows(database, "SELECT id, library_id FROM track WHERE path = 'moved.wav'") == [(1, 2)]
    assert rows(database, "SELECT count(*) FROM track") == [(5,)]


def test_a_library_that_is_gone_is_left_out_while_others_are_scanned(database, root, caplog):
    folders = (root / "album", root / "more")
    analyse(database, plan(database, *(scan_library(database, folder).library_id for folder in folders)))
    (root / "album").rename(root / "unplugged")
    run_id = enqueue(database, order_of(*folders), followed=True)
    assert f"{root}/album is gone" in caplog.text
    assert rows(database, "SELECT DISTINCT library FROM track_best") == [(str(root / "more"),)]
    assert rows(database, f"SELECT library_id FROM run_library WHERE run_id = {run_id}") == [(2,)]
    assert rows(database, "SELECT count(*) FROM track WHERE missing_since IS NOT NULL") == [(0,)]
    (root / "unplugged").rename(root / "album")
    enqueue(database, order_of(*folders), followed=True)
    assert rows(database, "SELECT count(*) FROM track_best") == [(5,)]


def test_a_folder_that_never_was_a_library_is_refused_before_anything_is_scanned(database, root):
    with pytest.raises(GenremillError, match=r"misspelt does not exist: give a folder of music"):
        enqueue(database, order_of(root / "album", root / "misspelt"), followed=True)
    assert rows(database, "SELECT count(*) FROM library") == [(0,)]


def test_an_order_of_nothing_but_what_is_gone_is_refused(database, root):
    scan(database, root)
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(GenremillError, match=r"music does not exist"):
        order_of(root)
