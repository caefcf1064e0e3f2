"""Each statement of libraries and tracks changes the rows that it is meant for, and no others."""

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

import pytest
from sqlalchemy import update

from db import tracks
from db.parts import Part
from db.tables import Track
from db.tracks import KnownTrack, TrackFacts
from db.types import now
from settings import GenremillError
from tests.integration.changes import changes
from tests.integration.rows import hash_number, plan, put_tracks, rows

A = hash_number("a")
FACTS = TrackFacts(b"new.mp3", 2, 3, 99, 4.0, "mp3", 44_100, 2, "title", "artist", "many", "album", 1999, "genre")


@pytest.fixture
def libraries(database):
    """Two libraries with the same three files: tracks 1 to 3 and 4 to 6."""
    for root in (b"/one", b"/two"):
        put_tracks(database, ["a", "b", None], root)
    return database


def test_a_library_is_entered_once(database):
    with database.write() as connection:
        assert not tracks.has_tracks(connection, [])
        first = tracks.put_library(connection, b"/music")
        assert tracks.put_library(connection, b"/music") == first
        assert tracks.put_library(connection, b"/Music") != first
        assert not tracks.has_tracks(connection, [first])


def test_libraries_with_tracks_are_told_from_those_without(libraries):
    with libraries.write() as connection:
        empty = tracks.put_library(connection, b"/empty")
        assert tracks.has_tracks(connection, [1])
        assert tracks.has_tracks(connection, [empty, 2])
        assert not tracks.has_tracks(connection, [empty])


def test_known_tracks_are_those_of_the_library(libraries):
    with libraries.write() as connection:
        known = {b"000.mp3": KnownTrack(4, 1, 1, A), b"002.mp3": KnownTrack(6, 1, 1, None)}
        paths = [b"000.mp3", b"002.mp3", b"none.mp3"]
        assert tracks.read_known_tracks(connection, 2, paths) == known
        assert tracks.lock_known_tracks(connection, 2, paths) == known
        assert tracks.read_known_tracks(connection, 3, paths) == {}


def test_new_tracks(libraries):
    moment = now()
    with changes(libraries) as changed, libraries.write() as connection:
        tracks.insert_tracks(connection, 2, [FACTS], moment)
    seen = {"first_seen_at": moment, "last_seen_at": moment, "missing_since": None}
    assert changed == {("track", 7): {"id": 7, "library_id": 2, **FACTS.as_row(), **seen}}
    with changes(libraries) as changed, libraries.write() as connection:
        tracks.insert_tracks(connection, 2, [], moment)
    assert changed == {}


def test_changed_tracks(libraries):
    set_missing(libraries, 1, 2, 4)
    moment = now()
    with changes(libraries) as changed, libraries.write() as connection:
        tracks.update_tracks(connection, [(1, FACTS)], moment)
    assert changed == {("track", 1): {**FACTS.as_row(), "last_seen_at": moment, "missing_since": None}}
    with changes(libraries) as changed, libraries.write() as connection:
        tracks.update_tracks(connection, [], moment)
    assert changed == {}


def test_unchanged_tracks(libraries):
    set_missing(libraries, 1, 2, 4)
    moment = now()
    with changes(libraries) as changed, libraries.write() as connection:
        tracks.touch_tracks(connection, [1, 3], moment)
    assert changed == {
        ("track", 1): {"last_seen_at": moment, "missing_since": None},
        ("track", 3): {"last_seen_at": moment},
    }


def set_missing(database, *track_ids) -> None:
    with database.write() as connection:
        for track_id in track_ids:
            connection.exec_driver_sql(f"UPDATE track SET missing_since = last_seen_at WHERE id = {track_id}")


def test_missing_tracks_are_those_that_the_scan_did_not_see(libraries):
    set_missing(libraries, 3)
    moment = now() + timedelta(seconds=1)
    with libraries.write() as connection:
        tracks.touch_tracks(connection, [2], moment)
    with changes(libraries) as changed, libraries.write() as connection:
        assert tracks.mark_missing(connection, Part(1), moment) == 1
    assert changed == {("track", 1): {"missing_since": moment}}


def test_a_scan_of_a_part_knows_of_that_part_alone(database):
    paths = (b"a/1", b"a/b/2", b"a-b/3", b"a0/4", b"b", b"a")
    with database.write() as connection:
        for root in (b"/one", b"/two"):
            library_id = tracks.put_library(connection, root)
            tracks.insert_tracks(connection, library_id, [TrackFacts(path, 1, 1, None) for path in paths], now())
    moment = now() + timedelta(seconds=1)
    with changes(database) as changed, database.write() as connection:
        assert tracks.mark_missing(connection, Part(1, b"a"), moment, [b"a/b"]) == 1
    assert changed == {("track", 1): {"missing_since": moment}}


def test_a_scan_of_a_library_that_is_gone_says_what_to_do(libraries):
    with libraries.write() as connection, pytest.raises(GenremillError, match="give the same command again"):
        tracks.lock_known_tracks(connection, 3, [])


PATHS = (b"a/1.mp3", b"a/b/2.mp3", b"a2/3.mp3", b"A/4.mp3", b"a", b"caf\xe9/5.mp3")


@pytest.mark.parametrize(
    ("unreadable", "missing"),
    [
        ((), {1, 2, 3, 4, 5, 6}),
        ((b"a",), {3, 4, 6}),
        ((b"a/b",), {1, 3, 4, 5, 6}),
        ((b"a/1.mp3",), {2, 3, 4, 5, 6}),
        ((b"a/1",), {1, 2, 3, 4, 5, 6}),
        ((b"a2", b"A"), {1, 2, 5, 6}),
        ((b"caf\xe9",), {1, 2, 3, 4, 5}),
        ((b"",), set()),
    ],
)
def test_tracks_in_folders_that_cannot_be_read_are_not_missing(database, unreadable, missing):
    with database.write() as connection:
        library_id = tracks.put_library(connection, b"/music")
        tracks.insert_tracks(connection, library_id, [TrackFacts(path, 1, 1, None) for path in PATHS], now())
        assert tracks.mark_missing(connection, Part(library_id), now() + timedelta(seconds=1), unreadable) == len(
            missing
        )
    assert {row[0] for row in rows(database, "SELECT id FROM track WHERE missing_since IS NOT NULL")} == missing


def move(database, library_id, *facts) -> int:
    """Let a scan of the library find only these new files. Returns how many were moved."""
    moment = now() + timedelta(seconds=1)
    with database.write() as connection:
        tracks.insert_tracks(connection, library_id, facts, moment)
        tracks.mark_missing(connection, Part(library_id), moment)
        return tracks.join_moved_tracks(connection, library_id, moment)


def test_a_moved_file_keeps_its_track_and_takes_its_tags_along(libraries):
    moved = TrackFacts(b"moved.mp3", 5, 6, A, 7.0, "mp3", 8, 9, "title", "artist", "many", "album", 1999, "genre")
    with changes(libraries) as changed:
        assert move(libraries, 1, moved) == 1
    track = changed.pop(("track", 1))
    assert track.pop("last_seen_at") > now()
    assert track == {
        "path": b"moved.mp3", "size_bytes": 5, "mtime_ns": 6, "title": "title", "artist": "artist",
        "album_artist": "many", "album": "album", "year": 1999, "tagged_genre": "genre",
    }  # fmt: skip
    assert {key: set(values) for key, values in changed.items()} == {
        ("track", 2): {"missing_since"},
        ("track", 3): {"missing_since"},
    }


def test_a_file_that_was_found_before_was_not_moved(libraries):
    set_missing(libraries, 1)
    with changes(libraries) as changed, libraries.write() as connection:
        tracks.insert_tracks(connection, 1, [TrackFacts(b"early.mp3", 1, 1, A)], now() - timedelta(days=1))
        assert tracks.join_moved_tracks(connection, 1, now() - timedelta(hours=1)) == 0
    assert set(changed) == {("track", 7)}


def test_a_file_that_was_moved_to_another_library_keeps_its_track(libraries):
    set_missing(libraries, 1, 2)
    moment = now()
    with changes(libraries) as changed, libraries.write() as connection:
        tracks.insert_tracks(connection, 2, [TrackFacts(b"moved.mp3", 5, 6, A), TrackFacts(b"x.mp3", 5, 6, 99)], moment)
        assert tracks.join_moved_tracks(connection, 2, moment) == 1
    place = {"library_id": 2, "path": b"moved.mp3", "size_bytes": 5, "mtime_ns": 6}
    assert changed["track", 1] == {**place, "last_seen_at": moment, "missing_since": None}
    assert set(changed) == {("track", 1), ("track", 8)}


def test_a_missing_track_of_the_same_library_is_preferred(libraries):
    with libraries.write() as connection:
        for track_id, days in ((1, 1), (4, 2)):
            long_ago = now() - timedelta(days=days)
            connection.execute(update(Track).where(Track.id == track_id).values(missing_since=long_ago))
    assert move(libraries, 2, TrackFacts(b"moved.mp3", 1, 1, A)) == 1
    assert rows(libraries, "SELECT id FROM track WHERE path = 'moved.mp3'") == [(4,)]


def test_files_of_another_library_are_left_to_its_own_scan(libraries):
    set_missing(libraries, 4)
    moment = now()
    with libraries.write() as connection:
        tracks.insert_tracks(connection, 2, [TrackFacts(b"moved.mp3", 1, 1, A)], moment)
    with changes(libraries) as changed, libraries.write() as connection:
        assert tracks.join_moved_tracks(connection, 1, moment) == 0
    assert changed == {}
    with libraries.write() as connection:
        assert tracks.join_moved_tracks(connection, 2, moment) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # In SQLite all writers wait for each other.
def test_scans_of_one_library_wait_for_each_other_and_those_of_others_do_not(libraries):
    def lock(library_id):
        with libraries.write() as connection:
            return len(tracks.lock_known_tracks(connection, library_id, [b"000.mp3"]))

    with ThreadPoolExecutor(2) as pool:
        with libraries.write() as connection:
            tracks.lock_known_tracks(connection, 1, [])
            same, other = pool.submit(lock, 1), pool.submit(lock, 2)
            assert other.result(30) == 1
            assert not wait([same], 0.3).done
        assert same.result(30) == 1


def test_a_file_whose_track_is_not_missing_was_copied(libraries):
    with libraries.write() as connection:
        tracks.insert_tracks(connection, 1, [TrackFacts(b"copy.mp3", 1, 1, A)], now())
        assert tracks.join_moved_tracks(connection, 1, now() - timedelta(days=1)) == 0


def test_a_file_that_came_and_went_during_the_scan_was_not_moved(libraries):
    set_missing(libraries, 1)
    with libraries.write() as connection:
        assert tracks.join_moved_tracks(connection, 1, now() - timedelta(days=1)) == 0
    assert rows(libraries, "SELECT count(*) FROM track") == [(6,)]


def test_files_without_a_hash_are_not_taken_for_each_other(libraries):
    assert move(libraries, 1, TrackFacts(b"unreadable.mp3", 1, 1, None)) == 0


def test_of_several_missing_tracks_the_last_one_to_go_is_the_file_that_was_moved(database):
    library_id = put_tracks(database, ["a", "a", "a"])
    with database.write() as connection:
        for track_id, days in ((1, 3), (2, 1), (3, 2)):
            long_ago = now() - timedelta(days=days)
            connection.execute(update(Track).where(Track.id == track_id).values(missing_since=long_ago))
    assert move(database, library_id, TrackFacts(b"x.mp3", 1, 1, A), TrackFacts(b"y.mp3", 1, 1, A)) == 2
    assert rows(database, "SELECT id, path FROM track ORDER BY id") == [(1, "000.mp3"), (2, "x.mp3"), (3, "y.mp3")]


def test_a_new_track_that_another_producer_has_planned_stays(libraries):
    moment = now() + timedelta(seconds=1)
    with libraries.write() as connection:
        tracks.insert_tracks(connection, 1, [TrackFacts(b"moved.mp3", 1, 1, A)], moment)
    plan(libraries, 1)
    with libraries.write() as connection:
        assert tracks.mark_missing(connection, Part(1), moment) == 3
        assert tracks.join_moved_tracks(connection, 1, moment) == 0
    assert rows(libraries, "SELECT path FROM track WHERE library_id = 1 AND missing_since IS NULL") == [("moved.mp3",)]
