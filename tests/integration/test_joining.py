"""Two tracks of one file become one, which keeps the better prediction of each analysis."""

import pytest

from db import joining
from db.integrity import find_problems
from db.joining import Pair
from db.types import now
from tests.integration.rows import analyse, counts, find_duplicates, mark_duplicates, plan, put_tracks, rows

STATES = "SELECT track_id, model_id, status, duplicate_of, is_newest FROM prediction ORDER BY track_id, model_id"


def join(database, *pairs) -> None:
    with database.write() as connection:
        joining.join_tracks(connection, [Pair(*pair) for pair in pairs], now())
    assert list(find_problems(database)) == []
    newest = rows(database, "SELECT track_id FROM prediction WHERE is_newest")
    assert len(newest) == len(set(newest))


@pytest.fixture
def two(database):
    """Track 1 of one library, and track 2 of another one with the same audio."""
    return put_tracks(database, ["a"], b"/one"), put_tracks(database, ["a"], b"/two")


@pytest.mark.parametrize(("analysed", "kept"), [((0,), 1), ((1,), 2), ((0, 1), 2), ((), 2)])
def test_the_one_with_an_analysis_stays_at_the_place_of_the_target(database, two, analysed, kept):
    for place in analysed:
        analyse(database, plan(database, two[place]))
    join(database, (1, 2))
    assert rows(database, "SELECT id, library_id, path FROM track") == [(kept, 2, "000.mp3")]
    expected = [(kept, 1, "done", None, True)] if analysed else []
    assert rows(database, STATES) == expected
    assert counts(database, plan(database, 2)) == {"found": 1, "skipped" if analysed else "pending": 1}


def test_analyses_by_different_models_come_together(database, two):
    analyse(database, plan(database, two[0], model="a"))
    analyse(database, plan(database, two[1], model="b"))
    join(database, (1, 2))
    assert rows(database, STATES) == [(2, 1, "done", None, False), (2, 2, "done", None, True)]


@pytest.mark.parametrize("leader", [1, 2])
def test_a_track_that_is_joined_with_its_duplicate(database, two, leader):
    analyse(database, plan(database, two[leader - 1]))
    run_id = plan(database, *two)
    mark_duplicates(database, run_id, find_duplicates(database, run_id))
    join(database, (1, 2))
    assert rows(database, STATES) == [(leader, 1, "done", None, True)]
    assert rows(database, "SELECT count(*) FROM score") == [(3,)]


@pytest.mark.parametrize("leader", [1, 2])
def test_duplicates_elsewhere_follow_their_leader(database, two, leader):
    other = put_tracks(database, ["a", "a"], b"/three")
    analyse(database, plan(database, two[leader - 1]))
    run_id = plan(database, *two, other)
    mark_duplicates(database, run_id, find_duplicates(database, run_id))
    join(database, (1, 2))
    ((kept,),) = rows(database, "SELECT track_id FROM prediction WHERE status = 'done'")
    assert rows(database, f"SELECT DISTINCT duplicate_of FROM prediction WHERE track_id <> {kept}") == [(kept,)]
    assert counts(database, plan(database, 2, other)) == {"found": 3, "skipped": 3}


def test_what_is_done_wins_over_what_is_open_or_failed(database):
    one, two = put_tracks(database, ["a", "b"], b"/one"), put_tracks(database, ["a", "b"], b"/two")
    analyse(database, plan(database, one))
    analyse(database, plan(database, two), error="undecodable")
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'pending' WHERE track_id = 4")
    join(database, (1, 3), (2, 4))
    assert rows(database, STATES) == [(1, 1, "done", None, True), (2, 1, "done", None, True)]
    assert counts(database, 2) == {}


def test_what_a_scan_saw_last_is_what_the_track_says(database, two):
    analyse(database, plan(database, two[0]))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE track SET title = 'old', missing_since = last_seen_at WHERE id = 1")
        connection.exec_driver_sql("UPDATE track SET title = 'new' WHERE id = 2")
    ((first_seen_at,),) = rows(database, "SELECT first_seen_at FROM track WHERE id = 1")
    join(database, (1, 2))
    assert rows(database, "SELECT id, title, missing_since, first_seen_at FROM track") == [
        (1, "new", None, first_seen_at)
    ]
