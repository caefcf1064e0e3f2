"""`genremill libraries`, as it is typed, on libraries that were moved, are gone or belong together."""

import io
import json
import os
from pathlib import Path

import pytest

import settings
from db import tracks
from db.integrity import find_problems
from db.parts import part_limits
from db.tracks import TrackFacts
from db.types import now
from genremill import console
from genremill.cli import app
from producer import libraries as producer_libraries
from tests.integration.changes import changes
from tests.integration.rows import analyse, counts, hash_number, plan, put_tracks, rows
from tests.integration.test_scan import bound_by_permissions

PATHS = "SELECT library_id, id, path FROM track ORDER BY library_id, path"


@pytest.fixture
def type_in(database, database_url, monkeypatch, capsys):
    """Runs `genremill libraries` with these arguments on the database. Returns the exit code, stdout and stderr."""
    monkeypatch.setenv("GENREMILL_DATABASE_URL", database_url)
    monkeypatch.setattr(producer_libraries, "PAGE_TRACKS", 2)
    settings.load.cache_clear()

    def run(*arguments: object) -> tuple[int, str, str]:
        words = ["libraries", *(os.fsdecode(word) if isinstance(word, bytes) else str(word) for word in arguments)]
        code = console.guarded(lambda: app(words, prog_name="genremill"))
        assert list(find_problems(database)) == []
        return code, *capsys.readouterr()

    yield run
    settings.load.cache_clear()


@pytest.fixture
def folders(tmp_path):
    """Two folders: one that is there, and one that is gone."""
    (tmp_path / "new").mkdir()
    return tmp_path / "old", tmp_path / "new"


def put_paths(database, root, *paths: str) -> int:
    """A library with these files, each with audio of its own name."""
    facts = [TrackFacts(path.encode(), 1, 1, hash_number(Path(path).name)) for path in paths]
    with database.write() as connection:
        library_id = tracks.put_library(connection, os.fsencode(root))
        tracks.insert_tracks(connection, library_id, facts, now())
    return library_id


def set_missing(database, *track_ids, days: float = 0) -> None:
    with database.write() as connection:
        for id in track_ids:
            connection.exec_driver_sql(f"UPDATE track SET missing_since = last_seen_at WHERE id = {id}")


def test_the_list(database, type_in, folders):
    old, new = folders
    put_tracks(database, ["a", "b", "c"], os.fsencode(old))
    put_tracks(database, [], os.fsencode(new))
    set_missing(database, 2)
    code, out, _ = type_in("list", "--json")
    assert code == 0
    empty, full = json.loads(out)
    assert empty == {"root": str(new), "tracks": 0, "missing": 0, "scanned_at": None, "gone": False}
    assert full.pop("scanned_at").startswith(f"{now():%Y-%m-}")
    assert full == {"root": str(old), "tracks": 2, "missing": 1, "gone": True}
    _, out, _ = type_in("list")
    assert out.split().count("gone") == 1
    assert "last scan" in out.splitlines()[0]


def test_the_list_changes_nothing(database, type_in, folders):
    """Another host may have the folders that are gone here."""
    for folder in folders:
        analyse(database, plan(database, put_tracks(database, ["a"], os.fsencode(folder))))
    with changes(database) as changed:
        type_in("list")
    assert changed == {}
    assert len(rows(database, "SELECT path FROM track_best")) == 2


def test_a_library_that_a_scan_did_not_find_is_gone(database, type_in, folders):
    _, new = folders
    put_tracks(database, ["a"], os.fsencode(new))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE library SET missing_since = '2020-01-01 00:00:00.000000+00'")
    _, out, _ = type_in("list", "--json")
    assert json.loads(out)[0]["gone"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL could not be reached, either.
def test_a_folder_that_cannot_be_looked_at_is_not_gone(database, type_in, folders):
    _, new = folders
    (new / "in").mkdir()
    put_tracks(database, ["a"], os.fsencode(new / "in"))
    new.chmod(0)
    with bound_by_permissions():
        _, out, _ = type_in("list", "--json")
    new.chmod(0o755)
    assert not json.loads(out)[0]["gone"]


def test_a_list_of_nothing_says_how_to_begin(type_in):
    assert type_in("list") == (0, "no libraries yet: `genremill run FOLDER` makes one\n", "")


def test_a_library_that_was_moved_keeps_everything(database, type_in, folders):
    old, new = folders
    analyse(database, plan(database, put_tracks(database, ["a", "b"], os.fsencode(old))))
    with changes(database) as changed:
        code, out, _ = type_in("move", old, new)
    assert (code, out) == (0, f"the library is {new} now\n")
    assert changed == {("library", 1): {"root": os.fsencode(new)}}
    assert rows(database, "SELECT path FROM track_best ORDER BY path") == [(f"{new}/000.mp3",), (f"{new}/001.mp3",)]
    assert json.loads(type_in("move", new, new, "--json")[1]) == {"root": str(new)}


def test_a_library_is_found_by_a_link_to_it(database, type_in, folders, tmp_path):
    _, new = folders
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    put_tracks(database, ["a"], os.fsencode(tmp_path / "target"))
    assert type_in("move", tmp_path / "link", new)[0] == 0
    assert rows(database, "SELECT root FROM library") == [(str(new),)]


@pytest.mark.parametrize(("old", "new", "reason"), [
    ("none", "new", "no library has the folder"), ("old", "none", "is not a folder"), ("old/a", "new", "no library"),
])  # fmt: skip
def test_a_move_that_cannot_be_done_changes_nothing(database, type_in, folders, tmp_path, old, new, reason):
    put_tracks(database, ["a"], os.fsencode(folders[0]))
    with changes(database) as changed:
        code, out, err = type_in("move", tmp_path / old, tmp_path / new)
    assert (code, out) == (2, "")
    assert reason in err
    assert err.count("\n") == 1
    assert changed == {}


def test_a_library_that_is_known_at_its_new_folder_too_becomes_one(database, type_in, folders):
    """The old one has analysed a, b and c, the new one only c and d."""
    old, new = folders
    first = plan(database, put_paths(database, old, "a", "b", "c"))
    analyse(database, first)
    later = put_paths(database, new, "c", "d")
    analyse(database, plan(database, later))
    put_paths(database, new, "a")
    assert type_in("move", old, new)[0] == 0
    assert rows(database, PATHS) == [(2, 1, "a"), (2, 2, "b"), (2, 4, "c"), (2, 5, "d")]
    assert rows(database, "SELECT track_id, status FROM prediction ORDER BY 1") == [(id, "done") for id in (1, 2, 4, 5)]
    assert rows(database, "SELECT root FROM library") == [(str(new),)]
    assert rows(database, "SELECT run_id, library_id FROM run_library ORDER BY 1") == [(1, 2), (2, 2)]
    assert counts(database, first) == {"found": 2, "done": 2}
    assert counts(database, plan(database, later)) == {"found": 4, "skipped": 4}
    assert rows(database, "SELECT count(*) FROM track_best") == [(4,)]


def test_a_run_of_both_libraries_is_a_run_of_the_one_that_they_become(database, type_in, folders):
    old, new = folders
    run_id = plan(database, put_paths(database, old, "a"), put_paths(database, new, "b"))
    assert type_in("move", old, new)[0] == 0
    assert rows(database, "SELECT run_id, library_id FROM run_library") == [(run_id, 2)]
    assert plan(database, 2) == run_id


def test_a_library_that_is_moved_into_another_one_becomes_a_part_of_it(database, type_in, folders):
    old, new = folders
    (new / "in").mkdir()
    run_id = plan(database, put_paths(database, old, "a", "b/c", "d"))
    analyse(database, run_id)
    put_paths(database, new, "in/d", "in-e")
    assert type_in("move", old, new / "in")[1] == f"the library is {new} now\n"
    assert rows(database, PATHS) == [(2, 5, "in-e"), (2, 1, "in/a"), (2, 2, "in/b/c"), (2, 3, "in/d")]
    assert rows(database, "SELECT run_id, library_id, path FROM run_library") == [(run_id, 2, "in")]
    assert counts(database, plan(database, 2)) == {"found": 4, "skipped": 3, "pending": 1}


def test_a_library_that_is_moved_around_others_takes_them_in(database, type_in, folders):
    old, new = folders
    put_paths(database, old, "a")
    put_paths(database, new / "x", "b")
    put_paths(database, new / "x" / "y", "c")
    assert type_in("move", old, new)[0] == 0
    assert rows(database, PATHS) == [(1, 1, "a"), (1, 2, "x/b"), (1, 3, "x/y/c")]


@pytest.fixture
def several(database, tmp_path):
    """A library with six tracks in folders, which are analysed, and another one with a copy of one of them."""
    library_id = put_paths(database, tmp_path / "a", "x/1", "x/2", "x/3", "x-y/4", "x", "z")
    analyse(database, plan(database, library_id))
    plan(database, put_paths(database, tmp_path / "b", "z"))
    return database


def test_a_library_is_forgotten(several, type_in, tmp_path):
    code, out, err = type_in("forget", tmp_path / "a", "--yes")
    assert (code, out) == (0, "6 tracks forgotten\n")
    assert "vacuum" in err
    assert rows(several, PATHS) == [(2, 7, "z")]
    assert rows(several, "SELECT root FROM library") == [(str(tmp_path / "b"),)]
    assert rows(several, "SELECT run_id, library_id FROM run_library") == [(2, 2)]
    assert counts(several, 1) == {}
    assert counts(several, 2) == {"found": 1, "pending": 1}


@pytest.mark.parametrize(("part", "left"), [
    ("a/x", ["x-y/4", "z", "z"]),
    ("a/x/2", ["x", "x-y/4", "x/1", "x/3", "z", "z"]),
    ("a/z", ["x", "x-y/4", "x/1", "x/2", "x/3", "z"]),
    ("a/none", ["x", "x-y/4", "x/1", "x/2", "x/3", "z", "z"]),
])  # fmt: skip
def test_a_part_of_a_library_is_forgotten(several, type_in, tmp_path, part, left):
    code, out, _ = type_in("forget", tmp_path / part, "--yes", "--json")
    assert (code, json.loads(out)) == (0, {"tracks": 7 - len(left)})
    assert [path for _, _, path in rows(several, PATHS)] == left
    assert rows(several, "SELECT count(*) FROM library") == [(2,)]


def test_all_libraries_in_a_folder_are_forgotten(several, type_in, tmp_path):
    assert type_in("forget", tmp_path, "--yes")[1] == "7 tracks forgotten\n"
    assert rows(several, "SELECT count(*) FROM library") == [(0,)]


def test_what_belongs_to_no_library_cannot_be_forgotten(several, type_in, tmp_path):
    with changes(several) as changed:
        code, out, err = type_in("forget", tmp_path / "a-not", "--yes")
    assert (code, out) == (2, "")
    assert "belongs to no library" in err
    assert changed == {}


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 1), ("n\n", 0, 7), ("", 2, 7)])
def test_nothing_is_forgotten_unless_somebody_says_yes(several, type_in, tmp_path, monkeypatch, answer, code, left):
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    found, _, err = type_in("forget", tmp_path / "a")
    assert found == code
    assert err.startswith(f"forget 6 tracks of {tmp_path}/a, with their genres? [y/N] ")
    assert ("nothing was forgotten" in err) == (left == 7)
    assert rows(several, "SELECT count(*) FROM track") == [(left,)]


def test_missing_tracks_are_pruned(several, type_in):
    set_missing(several, 1, 3, 4, 7)
    assert type_in("prune", "--older-than", 1)[1] == "0 tracks pruned\n"
    code, out, _ = type_in("prune")
    assert (code, out) == (0, "4 tracks pruned\n")
    assert rows(several, PATHS) == [(1, 5, "x"), (1, 2, "x/2"), (1, 6, "z")]
    assert json.loads(type_in("prune", "--json")[1]) == {"tracks": 0}


def test_tracks_that_are_missing_for_long_are_pruned_alone(several, type_in):
    set_missing(several, 1, 2)
    with several.write() as connection:
        connection.exec_driver_sql("UPDATE track SET missing_since = '2020-01-01 00:00:00.000000' WHERE id = 2")
    assert type_in("prune", "--older-than", "0.5")[1] == "1 track pruned\n"
    assert rows(several, "SELECT id FROM track ORDER BY id") == [(1,), (3,), (4,), (5,), (6,), (7,)]


@pytest.mark.parametrize("words", [("list",), ("move", "/", "/"), ("forget", "/", "--yes"), ("prune",)])
def test_where_there_is_no_database_none_is_made(tmp_path, monkeypatch, capsys, words):
    monkeypatch.setenv("GENREMILL_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    settings.load.cache_clear()
    assert console.guarded(lambda: app(["libraries", *words], prog_name="genremill")) == 2
    assert capsys.readouterr().err.startswith("genremill: nothing was analysed yet")
    assert list(tmp_path.iterdir()) == []
    settings.load.cache_clear()


def test_the_limits_of_a_part_are_those_of_its_folder():
    first, end = part_limits(b"a/caf\xe9")
    inside = ["a/caf\\xe9/1", "a/caf\\xe9/\U0010ffff", "a/caf\\xe9/b/c"]
    outside = ["a/caf\\xe9", "a/caf\\xe9-/1", "a/caf\\xe90", "a/cafe/1"]
    assert [path for path in inside if not first < path < end] == []
    assert [path for path in outside if first < path < end] == []
