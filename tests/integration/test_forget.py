"""What is forgotten is gone with all that belongs to it, and nothing else is lost by that."""

import pytest
from sqlalchemy import insert

from db import forget
from db.integrity import find_problems
from db.tables import Embedding
from db.types import now
from tests.integration.changes import changes
from tests.integration.rows import (
    analyse,
    claim,
    counts,
    find_duplicates,
    mark_duplicates,
    outcomes,
    plan,
    put_job,
    put_tracks,
    record,
    rows,
)

STATES = "SELECT track_id, status, duplicate_of FROM prediction ORDER BY track_id"


def delete_tracks(database, *track_ids) -> None:
    with database.write() as connection:
        forget.delete_tracks(connection, track_ids, now())


def put_embeddings(database, *prediction_ids) -> None:
    with database.write() as connection:
        connection.execute(insert(Embedding), [{"prediction_id": id, "vector": b"%d" % id} for id in prediction_ids])


@pytest.fixture
def copies(database):
    """A run of track 1, which 2 and 3 are copies of, and of track 4. It is not analysed yet."""
    run_id = plan(database, put_tracks(database, ["a", "a", "a", "b"]))
    mark_duplicates(database, run_id, find_duplicates(database, run_id))
    return run_id


def test_all_that_belongs_to_a_track_is_deleted_and_nothing_else(world):
    world.claim_all()
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'done'")
    ids = [id for (id,) in rows(world.database, "SELECT id FROM prediction WHERE track_id = 1")]
    put_embeddings(world.database, 99, *ids)
    with changes(world.database) as changed:
        delete_tracks(world.database, 1)
    runs_of_track = {row[:2]: values for row, values in changed.items() if row[0] == "run"}
    assert {run_id for _, run_id in runs_of_track} == {1, 2, 3, 4}  # All are closed by that, as nothing is open.
    assert [runs_of_track["run", run_id].get("found") for run_id in (1, 2, 3, 4)] == [3, 3, 3, None]
    others = {key: values for key, values in changed.items() if key[0] != "run"}
    assert len(others) == 1 + 3 + 3
    assert all(not values for values in others.values())
    assert {key[0] for key in others} == {"track", "prediction", "embedding"}


def test_scores_go_with_their_predictions(database):
    run_id = plan(database, put_tracks(database, ["a", "b"]))
    analyse(database, run_id)
    delete_tracks(database, 2)
    assert rows(database, "SELECT DISTINCT track_id FROM score") == [(1,)]
    if database.file is not None:
        assert rows(database, "SELECT count(*) FROM score_row") == [(3,)]
    assert counts(database, run_id) == {"found": 1, "done": 1}
    assert list(find_problems(database)) == []


def test_a_duplicate_takes_the_place_of_its_leader(database, copies):
    analyse(database, copies)
    put_embeddings(database, 1, 2)  # That of the duplicate is of an earlier analysis.
    scores = "SELECT genre_id, probability, rank FROM score WHERE track_id = {} ORDER BY genre_id"
    before = rows(database, scores.format(1))
    delete_tracks(database, 1)
    assert rows(database, STATES) == [(2, "done", None), (3, "duplicate", 2), (4, "done", None)]
    assert rows(database, scores.format(2)) == before
    assert rows(database, "SELECT device, windows, elapsed_ms FROM prediction WHERE track_id = 2") == [("cpu", 9, 1.0)]
    with database.read() as connection:
        found = connection.execute(Embedding.__table__.select()).all()
    assert [(id, bytes(vector)) for id, vector in found] == [(2, b"1")]
    assert list(find_problems(database)) == []
    assert counts(database, plan(database, 1)) == {"found": 3, "skipped": 3}


def test_duplicates_of_what_is_not_analysed_yet_become_pending(database, copies):
    job = claim(database, put_job(database, copies))
    delete_tracks(database, 1)
    assert rows(database, STATES) == [(2, "pending", None), (3, "pending", None), (4, "running", None)]
    assert record(database, outcomes(database, job)) == 1  # Track 1 is not there any more.
    assert counts(database, copies) == {"found": 3, "pending": 2, "done": 1}
    assert list(find_problems(database)) == []


def test_a_duplicate_of_other_audio_than_its_leader_has_now_becomes_pending(database, copies):
    analyse(database, copies)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET audio_hash = 99 WHERE track_id = 1")
    delete_tracks(database, 1)
    assert rows(database, STATES) == [(2, "pending", None), (3, "pending", None), (4, "done", None)]
    assert rows(database, "SELECT finished_at FROM run") == [(None,)]


def test_a_leader_that_is_forgotten_with_its_duplicates(database, copies):
    analyse(database, copies)
    delete_tracks(database, 1, 2, 3)
    assert rows(database, STATES) == [(4, "done", None)]
    assert list(find_problems(database)) == []


def test_a_duplicate_whose_leader_has_no_prediction_becomes_pending(database, copies):
    analyse(database, copies)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET coverage = 'full' WHERE track_id = 1")
    delete_tracks(database, 1)
    assert rows(database, STATES) == [(2, "pending", None), (3, "pending", None), (4, "done", None)]


def test_a_run_is_closed_when_its_last_open_track_is_forgotten(database):
    run_id = plan(database, put_tracks(database, ["a"]))
    put_job(database, run_id)
    delete_tracks(database, 1)
    assert counts(database, run_id) == {}
    assert rows(database, "SELECT count(*) FROM run WHERE finished_at IS NOT NULL") == [(1,)]


def test_nothing_to_delete_changes_nothing(world):
    with changes(world.database) as changed:
        delete_tracks(world.database)
    assert changed == {}
