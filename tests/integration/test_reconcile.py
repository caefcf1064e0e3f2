"""Jobs that lost their message or their worker are queued again."""

import pytest
from kombu import Connection

from db import jobs
from db.types import now
from producer.dispatch import dispatch, send
from producer.order import Order
from producer.reconcile import read_job_ids, reconcile
from settings import GenremillError
from tests.integration.rows import claim, counts, finish, outcomes, plan, put_job, put_tracks, record, rows
from worker.models.checkpoints import find_checkpoint


@pytest.fixture
def job_id(database):
    return put_job(database, plan(database, put_tracks(database, ["a", "b"])))


def test_a_queued_job_without_a_message_is_sent(database, broker, job_id):
    assert read_job_ids() == set()
    assert reconcile(database) == 1
    assert read_job_ids() == {job_id}
    assert broker.llen("bulk") == 1


def test_one_with_a_message_is_not(database, broker, job_id):
    send({job_id: "bulk"})
    assert reconcile(database) == 0
    assert broker.llen("bulk") == 1


def test_a_delivered_message_counts_until_its_worker_is_dead(database, broker, job_id, redis_url):
    send({job_id: "bulk"})
    with Connection(redis_url) as connection:
        message = connection.SimpleQueue("bulk").get(timeout=5)
        assert broker.llen("bulk") == 0
        assert reconcile(database) == 0
        assert claim(database, job_id, "cpu@here") is not None
        assert reconcile(database, dead_workers=["cpu@there"]) == 0
        assert reconcile(database, dead_workers=["cpu@here"]) == 1
        message.ack()
    assert rows(database, "SELECT status FROM job") == [("queued",)]


def test_an_emptied_redis_is_filled_again(database, broker, job_id):
    send({job_id: "bulk"})
    broker.flushall()
    assert reconcile(database) == 1
    assert read_job_ids() == {job_id}


def test_a_lapsed_lease_is_queued_again(database, broker, job_id):
    claim(database, job_id, lease_s=-1)
    assert reconcile(database) == 1
    assert rows(database, "SELECT status, worker FROM job") == [("queued", None)]


def test_a_job_goes_to_its_own_queue(database, broker):
    run_id = plan(database, put_tracks(database, ["a"]))
    with database.write() as connection:
        job_id = jobs.insert_job(connection, run_id, [1], 1.0, "fast", now())
    assert reconcile(database) == 1
    assert (broker.llen("fast"), broker.llen("bulk")) == (1, 0)
    assert read_job_ids() == {job_id}


def test_all_that_was_queued_is_queued_again(database, broker):
    run_id = plan(database, put_tracks(database, list("abcdefgh")))
    assert dispatch(database, run_id, Order((), find_checkpoint("musicnn"), "regions", job_tracks=1)) == 8
    sent = read_job_ids()
    assert len(sent) == 8
    broker.flushall()
    assert read_job_ids() == set()
    assert reconcile(database) == 8
    assert read_job_ids() == sent
    assert reconcile(database) == 0


def test_a_job_that_is_held_is_left_to_its_worker(database, broker, job_id):
    claim(database, job_id)
    assert reconcile(database) == 0
    assert read_job_ids() == set()


def test_a_job_that_is_done_is_not_sent(database, broker, job_id):
    job = claim(database, job_id)
    record(database, outcomes(database, job))
    finish(database, job)
    assert reconcile(database) == 0
    assert read_job_ids() == set()


def test_the_single_tracks_of_a_job_that_was_lost_twice_are_sent(database, broker, job_id):
    claim(database, job_id, lease_s=-1)
    assert reconcile(database) == 1
    claim(database, job_id, lease_s=-1)
    assert reconcile(database) == 2
    assert len(read_job_ids()) == 3
    assert claim(database, job_id) is None  # so that the old message does nothing


def test_more_messages_than_are_read_at_a_time(broker):
    wanted = {f"job {index}" for index in range(25)}
    send(dict.fromkeys(wanted, "bulk"))
    assert read_job_ids(page_messages=10) == wanted


def test_without_a_broker_the_jobs_wait_in_the_database(database, broker, processes):
    run_id = plan(database, put_tracks(database, ["a", "b"]))
    processes[-1].kill()
    processes[-1].wait()
    with pytest.raises(GenremillError, match="GENREMILL_BROKER_URL"):
        dispatch(database, run_id, Order((), find_checkpoint("musicnn"), "regions"))
    assert counts(database, run_id) == {"found": 2, "queued": 2}
