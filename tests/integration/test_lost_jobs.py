"""Jobs whose workers died: taken back, split or quarantined, and nothing else is changed."""

from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from db import lost_jobs, pending
from db.types import now
from tests.integration.changes import changes
from tests.integration.rows import claim, finish, outcomes, plan, record, rows
from tests.integration.world import QUEUED, REQUEUED_JOB, World, of_predictions


def test_jobs_of_a_worker_that_are_taken_back(world):
    world.claim_all("a", "b")
    with changes(world.database) as changed, world.database.write() as connection:
        assert lost_jobs.take_back_worker_jobs(connection, "a", now()) == [world.job]
    assert changed == {("job", world.job): REQUEUED_JOB, **of_predictions(QUEUED, 1, 2)}


def test_jobs_whose_lease_has_ended_are_taken_back(world):
    world.claim_all("a", "a", lease_s=-1)
    with changes(world.database) as changed, world.database.write() as connection:
        assert lost_jobs.take_back_lapsed_jobs(connection, now()) == [world.job]
    assert changed == {("job", world.job): REQUEUED_JOB, **of_predictions(QUEUED, 1, 2)}


@pytest.mark.parametrize("take_back", [lost_jobs.take_back_worker_jobs, lost_jobs.take_back_lapsed_jobs])
def test_of_two_that_take_a_job_back_at_once_one_does(world, take_back):
    claim(world.database, world.job, "dead", lease_s=-1)
    arguments = ("dead", now()) if take_back is lost_jobs.take_back_worker_jobs else (now(),)

    def take_back_too():
        with world.database.write() as connection:
            return take_back(connection, *arguments)

    with ThreadPoolExecutor(1) as pool:
        with world.database.write() as connection:
            assert take_back(connection, *arguments) == [world.job]
            other = pool.submit(take_back_too)
            assert not wait([other], 0.3).done  # It waits for this transaction.
        assert other.result(30) == []


def test_jobs_that_a_dead_worker_has_ended_are_not_taken_back(world):
    job = claim(world.database, world.job, "dead", lease_s=-1)
    record(world.database, outcomes(world.database, job))
    finish(world.database, job)
    with changes(world.database) as changed, world.database.write() as connection:
        assert lost_jobs.take_back_worker_jobs(connection, "dead", now()) == []
        assert lost_jobs.take_back_lapsed_jobs(connection, now()) == []
    assert changed == {}


def lose(database, job_id, times: int, moment=None) -> None:
    """Let a worker claim the job and die, so many times."""
    for _ in range(times):
        assert claim(database, job_id, "dead", lease_s=-1)
        with database.write() as connection:
            assert lost_jobs.take_back_worker_jobs(connection, "dead", moment or now()) == [job_id]


def test_a_job_that_is_split(world):
    lose(world.database, world.job, 1)
    world.claim_all("dead", "b")
    moment = now()
    with changes(world.database) as changed, world.database.write() as connection:
        lost_jobs.take_back_worker_jobs(connection, "dead", moment)
    split = {"status": "split", "finished_at": moment, "lease_until": None}
    assert changed.pop(("job", world.job)) == split
    for track_id in (1, 2):
        prediction = changed.pop(("prediction", track_id, 1, "regions"))
        single = changed.pop(("job", prediction.pop("job_id")))
        assert prediction == {"status": "queued"}
        assert (single["run_id"], single["queue"], single["status"]) == (world.run, "bulk", "queued")
        assert (single["tracks"], single["audio_s"], single["attempts"]) == (1, 50.0, 0)
        assert single["queued_at"] == moment
    assert changed == {}


def test_a_split_job_of_the_fast_queue_stays_there(world):
    with world.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE job SET queue = 'fast' WHERE id = '{world.job}'")
    lose(world.database, world.job, 2)
    queues = rows(world.database, "SELECT queue, count(*) FROM job WHERE tracks = 1 GROUP BY queue")
    assert queues == [("fast", 2)]


def test_a_split_job_goes_to_the_run_that_wants_its_tracks_now(world):
    lose(world.database, world.job, 1)
    both = plan(world.database, 1, 2)
    lose(world.database, world.job, 1)
    assert rows(world.database, "SELECT DISTINCT run_id FROM job WHERE tracks = 1") == [(both,)]
    assert rows(world.database, f"SELECT DISTINCT status FROM prediction WHERE run_id = {both}") == [("queued",)]


def put_single_job(world: World) -> int:
    """Make a job of track 1 alone, in the place of the one that it was in. Returns its id."""
    with world.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE prediction SET status = 'pending' WHERE track_id = 1 AND model_id = 1 AND coverage = 'regions'"
        )
        return pending.insert_job(connection, world.run, [1], 10.0, "bulk", now())


def test_a_track_that_is_quarantined(world):
    single = put_single_job(world)
    lose(world.database, single, 2)
    assert rows(world.database, f"SELECT status, attempts FROM job WHERE id = '{single}'") == [("queued", 2)]
    world.claim_all("b", "b")
    claim(world.database, single, "dead")
    moment = now()
    with changes(world.database) as changed, world.database.write() as connection:
        assert lost_jobs.take_back_worker_jobs(connection, "dead", moment) == [single]
    detail = changed[("prediction", 1, 1, "regions")].pop("error_detail")
    assert detail == "3 workers that took this file died; `genremill run FOLDER --retry` queues it again"
    end = {"status": "quarantined", "error_code": "worker_died", "finished_at": moment}
    done = {"status": "done", "finished_at": moment, "lease_until": None}
    assert changed == {**of_predictions(end, 1), ("job", single): done}


def test_only_what_is_left_of_a_job_counts_when_it_is_lost(world):
    """A job of two tracks, one of which is done, is neither split nor, after two losses, quarantined."""
    lose(world.database, world.job, 1)
    record(world.database, outcomes(world.database, claim(world.database, world.job, "dead"))[:1])
    with changes(world.database) as changed, world.database.write() as connection:
        lost_jobs.take_back_worker_jobs(connection, "dead", now())
    assert changed == {("job", world.job): REQUEUED_JOB, **of_predictions(QUEUED, 2)}
    lose(world.database, world.job, 1)
    assert rows(world.database, f"SELECT status FROM job WHERE id = '{world.job}'") == [("done",)]
    assert rows(world.database, "SELECT track_id FROM prediction WHERE status = 'quarantined'") == [(2,)]


def test_a_lost_job_whose_tracks_all_have_an_outcome_waits_for_a_worker_that_closes_it(world):
    job = claim(world.database, world.job, "dead")
    record(world.database, outcomes(world.database, job))
    with changes(world.database) as changed, world.database.write() as connection:
        lost_jobs.take_back_worker_jobs(connection, "dead", now())
    assert changed == {("job", world.job): REQUEUED_JOB}
    again = claim(world.database, world.job, "a")
    assert again.tracks == ()
    finish(world.database, again)
    assert rows(world.database, f"SELECT status FROM job WHERE id = '{world.job}'") == [("done",)]


def test_losing_the_last_track_of_a_run_closes_the_run(world):
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'done' WHERE NOT track_id = 1")
    single = put_single_job(world)
    lose(world.database, single, 2)
    moment = now()
    with changes(world.database) as changed:
        lose(world.database, single, 1, moment)
    assert changed["run", world.run] == {"finished_at": moment}
    assert rows(world.database, "SELECT count(*) FROM run WHERE finished_at IS NULL") == [(2,)]
