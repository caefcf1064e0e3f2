"""Jobs: claimed by one, written once, taken back from the dead."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from db import jobs, runs
from db.tables import now
from tests.integration.rows import analyse, claim, counts, finish, outcomes, plan, put_job, put_tracks, record, rows


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


def test_scores_need_a_prediction(database, job_id):
    claim(database, job_id)
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.exec_driver_sql("INSERT INTO score VALUES (999, 1, 'regions', 1, 0.5)")


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
        assert jobs.release_leases(connection, "b", now()) == []
        assert jobs.release_leases(connection, "a", now()) == [job_id]
        assert jobs.read_queued(connection) == {job_id: "bulk"}
    assert counts(database, run_id) == {"found": 4, "queued": 4}


def lose(database, job_id) -> None:
    """A worker takes the job and dies."""
    assert claim(database, job_id, "a", lease_s=-1) is not None
    with database.write() as connection:
        assert jobs.take_back_lapsed(connection, now() + timedelta(seconds=1)) == [job_id]


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
    with database.write() as connection:
        (twin,) = runs.find_twins(connection, run_id)
        runs.mark_duplicates(connection, run_id, [twin])
    assert counts(database, run_id) == {"found": 2, "pending": 1, "duplicate": 1}
    analyse(database, run_id, error="missing")
    assert counts(database, run_id) == {"found": 2, "failed": 1, "pending": 1}
