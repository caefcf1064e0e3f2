"""Jobs: one worker claims each, outcomes are stored once, dead workers lose theirs."""

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from db import jobs, lost_jobs, models, pending, runs
from db.outcomes import record_outcomes
from db.types import now
from tests.integration.rows import (
    analyse,
    claim,
    counts,
    find_duplicates,
    finish,
    mark_duplicates,
    outcomes,
    plan,
    put_job,
    put_tracks,
    record,
    rows,
)


@pytest.fixture
def run_id(database):
    return plan(database, put_tracks(database, ["a", "b", "c", "d"]))


@pytest.fixture
def job_id(database, run_id):
    return put_job(database, run_id)


def test_one_of_many_claims_a_job(database, job_id):
    with ThreadPoolExecutor(12) as pool:
        claimed = [job for job in pool.map(lambda name: claim(database, job_id, name), map(str, range(12))) if job]
    assert len(claimed) == 1
    assert len(claimed[0].tracks) == 4
    assert claimed[0].tracks[0].root == b"/music"


def test_a_job_that_is_done_is_not_claimed(database, run_id, job_id):
    job = claim(database, job_id)
    record(database, outcomes(database, job))
    finish(database, job)
    assert claim(database, job_id, "b") is None
    assert counts(database, run_id) == {"found": 4, "done": 4}
    assert rows(database, "SELECT count(*) FROM run WHERE finished_at IS NULL") == [(0,)]


def test_a_job_with_open_tracks_is_not_finished(database, run_id, job_id):
    job = claim(database, job_id)
    record(database, outcomes(database, job)[:3])
    finish(database, job)
    assert rows(database, "SELECT status FROM job") == [("running",)]
    assert counts(database, run_id) == {"found": 4, "done": 3, "running": 1}


def test_a_lapsed_lease_goes_to_the_next_and_the_first_learns_of_it(database, job_id):
    first = claim(database, job_id, "a", lease_s=-1)
    second = claim(database, job_id, "b")
    assert second.attempt == 2
    with database.write() as connection:
        assert not jobs.renew_lease(connection, first, 60, now())
        assert jobs.renew_lease(connection, second, 60, now())


def test_an_outcome_is_written_once(database, job_id):
    first = claim(database, job_id, "a", lease_s=-1)
    second = claim(database, job_id, "b")
    assert record(database, outcomes(database, first, 0.75)) == 4
    assert record(database, outcomes(database, first, 0.75)) == 0
    assert record(database, outcomes(database, second, 0.5)) == 0
    assert rows(database, "SELECT count(*) FROM score") == [(12,)]
    assert {row[0] for row in rows(database, "SELECT probability FROM score WHERE genre_id = 1")} == {0.75}


def test_two_outcomes_of_one_track_in_one_batch(database, job_id):
    job = claim(database, job_id)
    entries = outcomes(database, job)
    assert record(database, [*entries, *entries]) == 4


def test_handing_back_is_not_an_attempt(database, run_id, job_id):
    job = claim(database, job_id)
    record(database, outcomes(database, job)[:1])
    with database.write() as connection:
        jobs.hand_back_job(connection, job)
    assert counts(database, run_id) == {"found": 4, "done": 1, "queued": 3}
    again = claim(database, job_id, "b")
    assert (again.attempt, len(again.tracks)) == (1, 3)


def test_a_new_worker_takes_back_what_its_name_held(database, run_id, job_id):
    claim(database, job_id, "a")
    with database.write() as connection:
        assert lost_jobs.take_back_worker_jobs(connection, "b", now()) == []
        assert lost_jobs.take_back_worker_jobs(connection, "a", now()) == [job_id]
        assert pending.read_queued_jobs(connection, "bulk", 10) == [job_id]
    assert counts(database, run_id) == {"found": 4, "queued": 4}


def lose(database, job_id) -> None:
    """A worker takes the job and dies."""
    assert claim(database, job_id, "a", lease_s=-1) is not None
    with database.write() as connection:
        assert lost_jobs.take_back_lapsed_jobs(connection, now() + timedelta(seconds=1)) == [job_id]


def test_a_job_that_is_lost_twice_is_split_and_the_killer_quarantined(database, run_id, job_id):
    lose(database, job_id)
    assert counts(database, run_id) == {"found": 4, "queued": 4}
    lose(database, job_id)
    singles = [row[0] for row in rows(database, "SELECT id FROM job WHERE status = 'queued' ORDER BY id")]
    assert len(singles) == 4
    assert rows(database, f"SELECT status FROM job WHERE id = '{job_id}'") == [("split",)]
    for single in singles[1:]:
        job = claim(database, single)
        record(database, outcomes(database, job))
        finish(database, job)
    for _ in range(3):
        lose(database, singles[0])
    assert counts(database, run_id) == {"found": 4, "done": 3, "quarantined": 1}
    assert rows(database, "SELECT error_code FROM prediction WHERE status = 'quarantined'") == [("worker_died",)]
    assert rows(database, "SELECT count(*) FROM run WHERE finished_at IS NULL") == [(0,)]


def test_a_failed_original_frees_its_duplicates(database):
    run_id = plan(database, put_tracks(database, ["same", "same"]))
    (duplicate,) = find_duplicates(database, run_id)
    mark_duplicates(database, run_id, [duplicate])
    assert counts(database, run_id) == {"found": 2, "pending": 1, "duplicate": 1}
    analyse(database, run_id, error="missing")
    assert counts(database, run_id) == {"found": 2, "failed": 1, "pending": 1}


def test_every_genre_is_stored_and_their_mean_is_a_query(database, job_id):
    job = claim(database, job_id)
    low, *_ = outcomes(database, job, 0.25)
    _, *high = outcomes(database, job, 0.75)
    record(database, [low, *high])
    means = "SELECT name, count(*), avg(probability) FROM score JOIN genre ON genre.id = genre_id GROUP BY 1 ORDER BY 1"
    assert rows(database, means) == [("happy", 4, 0.125), ("jazz", 4, 0.25), ("rock", 4, 0.625)]


def test_of_holders_that_record_at_once_one_is_written(database, run_id, job_id):
    held = [claim(database, job_id, str(index), lease_s=-1) for index in range(4)]
    entries = [outcomes(database, job, (index + 1) / 8) for index, job in enumerate(held)]
    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(lambda some: record(database, some), entries))
    assert sorted(written) == [0, 0, 0, 4]
    assert rows(database, "SELECT count(*) FROM score") == [(12,)]
    kept = rows(database, "SELECT DISTINCT probability FROM score JOIN genre ON id = genre_id WHERE name = 'rock'")
    assert kept == [((written.index(4) + 1) / 8,)]
    assert counts(database, run_id) == {"found": 4, "done": 4}


def test_a_holder_that_lost_its_job_neither_closes_it_nor_hands_it_back(database, run_id, job_id):
    first = claim(database, job_id, "a", lease_s=-1)
    second = claim(database, job_id, "b")
    record(database, outcomes(database, second)[:3])
    with database.write() as connection:
        jobs.hand_back_job(connection, first)
    assert rows(database, "SELECT status, worker, attempts FROM job") == [("running", "b", 2)]
    record(database, outcomes(database, second))
    finish(database, first)
    assert rows(database, "SELECT status FROM job") == [("running",)]
    finish(database, second)
    assert rows(database, "SELECT status FROM job") == [("done",)]


def test_what_is_recorded_while_its_job_is_split_stays(database, run_id, job_id):
    lose(database, job_id)
    job = claim(database, job_id, "a", lease_s=-1)
    entries = outcomes(database, job)
    with ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            assert record_outcomes(connection, entries[:1], now()) == 1
            taken = pool.submit(take_back, database)
            assert not wait([taken], 0.3).done  # it waits for this transaction
        assert taken.result(30) == [job_id]
    assert counts(database, run_id) == {"found": 4, "done": 1, "queued": 3}
    assert rows(database, "SELECT count(*), sum(tracks) FROM job WHERE status = 'queued'") == [(3, 3)]


def take_back(database) -> list[str]:
    with database.write() as connection:
        return lost_jobs.take_back_lapsed_jobs(connection, now() + timedelta(seconds=1))


def test_a_worker_that_comes_late_does_not_write_into_the_jobs_that_followed(database, run_id, job_id):
    lose(database, job_id)
    late = claim(database, job_id, "a", lease_s=-1)
    take_back(database)
    assert record(database, outcomes(database, late)) == 0
    assert counts(database, run_id) == {"found": 4, "queued": 4}
    finish(database, late)
    assert rows(database, f"SELECT status FROM job WHERE id = '{job_id}'") == [("split",)]


def test_a_split_leaves_out_what_is_done(database, run_id, job_id):
    lose(database, job_id)
    job = claim(database, job_id, "a", lease_s=-1)
    record(database, outcomes(database, job)[:2])
    take_back(database)
    assert counts(database, run_id) == {"found": 4, "done": 2, "queued": 2}
    assert rows(database, "SELECT tracks, audio_s FROM job WHERE status = 'queued'") == [(1, 25.0), (1, 25.0)]


def test_a_split_leaves_other_predictions_of_its_tracks_alone(database, run_id):
    whole = plan(database, 1, coverage="full")
    job_id = put_job(database, whole)
    lose(database, job_id)
    lose(database, job_id)
    assert counts(database, whole) == {"found": 4, "queued": 4}
    assert counts(database, run_id) == {"found": 4, "pending": 4}


def test_a_job_that_is_unknown_is_not_claimed(database, job_id):
    assert claim(database, 99) is None


def test_the_database_refuses_what_cannot_be(database, job_id):
    for statement in (
        "UPDATE prediction SET track_id = 99",
        "UPDATE prediction SET job_id = 99",
        "UPDATE prediction SET status = 'lost'",
        "UPDATE prediction SET coverage = 'half'",
        "UPDATE job SET status = 'lost'",
        "DELETE FROM track",
    ):
        with pytest.raises(IntegrityError), database.write() as connection:
            connection.exec_driver_sql(statement)


def test_a_run_that_was_closed_with_duplicates_is_open_again_when_their_original_fails(database):
    first = plan(database, put_tracks(database, ["x"], b"/one"))
    job = claim(database, put_job(database, first))
    second = plan(database, put_tracks(database, ["x"], b"/two"))
    mark_duplicates(database, second, find_duplicates(database, second))
    with database.write() as connection:
        runs.finish_runs(connection, now())
    assert counts(database, second) == {"found": 1, "duplicate": 1}
    record(database, outcomes(database, job, error="undecodable"))
    finish(database, job)
    assert counts(database, second) == {"found": 1, "pending": 1}
    assert rows(database, "SELECT id FROM run WHERE finished_at IS NULL") == [(second,)]
    analyse(database, second)
    assert rows(database, "SELECT count(*) FROM run WHERE finished_at IS NULL") == [(0,)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL scans tables as small as these
def test_writing_outcomes_does_not_read_whole_tables(database, job_id):
    """Which took longer with every track that had been analysed before."""
    entries, statements = outcomes(database, claim(database, job_id)), []
    with database.write() as connection:
        sqlite = connection.connection.driver_connection
        sqlite.set_trace_callback(statements.append)
        record_outcomes(connection, entries, now())
        sqlite.set_trace_callback(None)
    written = [sql for sql in statements if sql.startswith(("SELECT", "UPDATE", "DELETE"))]
    steps = [step for sql in written for *_, step in rows(database, f"EXPLAIN QUERY PLAN {sql.replace('%', '%%')}")]
    assert any("prediction" in step for step in steps)
    assert not [step for step in steps if step.startswith("SCAN")]


def test_a_model_may_have_more_genres_than_a_statement_takes_values(database, job_id):
    job = claim(database, job_id)
    with database.write() as connection:
        ids = models.put_genres(connection, job.model_id, [(f"g{number}", "genre") for number in range(7000)], "{}")
    genre_ids = tuple(ids.values())
    entries = [replace(o, genre_ids=genre_ids, probabilities=(0.5,) * 7000) for o in outcomes(database, job)]
    assert record(database, entries) == 4
    assert rows(database, "SELECT count(*), count(DISTINCT genre_id) FROM score") == [(28_000, 7000)]
