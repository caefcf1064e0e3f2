"""Jobs that lost their message or their worker are queued again."""

import pytest
from kombu import Connection

from db import pending
from db.types import now
from producer.dispatch import dispatch
from producer.messages import count_waiting, read_job_ids, refill, send
from producer.order import Order
from producer.reconcile import reconcile
from settings import GenremillError
from tests.integration.rows import claim, counts, finish, outcomes, plan, put_job, put_tracks, record, rows
from worker.celery import TASK, app
from worker.models.checkpoints import find_checkpoint


@pytest.fixture
def job_id(database):
    return put_job(database, plan(database, put_tracks(database, [1, 2])))


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
    run_id = plan(database, put_tracks(database, [1]))
    with database.write() as connection:
        job_id = pending.insert_job(connection, run_id, [1], 1.0, "fast", now())
    assert reconcile(database) == 1
    assert (broker.llen("fast"), broker.llen("bulk")) == (1, 0)
    assert read_job_ids() == {job_id}


def test_all_that_was_queued_is_queued_again(database, broker):
    run_id = plan(database, put_tracks(database, list(range(8))))
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
    wanted = set(range(1, 26))
    send(dict.fromkeys(wanted, "bulk"))
    assert read_job_ids(page_messages=10) == wanted


def test_without_a_broker_the_jobs_wait_in_the_database(database, broker, processes):
    run_id = plan(database, put_tracks(database, [1, 2]))
    processes[-1].kill()
    processes[-1].wait()
    with pytest.raises(GenremillError, match="GENREMILL_BROKER_URL"):
        dispatch(database, run_id, Order((), find_checkpoint("musicnn"), "regions"))
    assert counts(database, run_id) == {"found": 2, "queued": 2}


@pytest.fixture
def marks(data_dir, monkeypatch):
    """A queue holds 4 messages at most, and gets more when it has less than 2."""
    monkeypatch.setenv("GENREMILL_QUEUE_LOW", "2")
    monkeypatch.setenv("GENREMILL_QUEUE_HIGH", "4")


@pytest.fixture
def eight(database):
    """A run with eight jobs of one track, in the bulk queue."""
    return put_jobs(database, 8, "bulk", b"/bulk")


def put_jobs(database, count, queue, root) -> list[int]:
    run_id = plan(database, put_tracks(database, list(range(count)), root))
    with database.write() as connection:
        tracks = pending.lock_pending_tracks(connection, run_id, count)
        return [pending.insert_job(connection, run_id, [track.prediction_id], 1.0, queue, now()) for track in tracks]


def take(redis_url, count: int) -> None:
    """Let a worker take so many messages and be done with them."""
    with Connection(redis_url) as connection:
        for _ in range(count):
            connection.SimpleQueue("bulk").get(timeout=5).ack()


def test_the_queue_is_kept_between_two_marks(database, broker, redis_url, marks, eight):
    assert (refill(database), read_job_ids()) == (4, set(eight[:4]))
    take(redis_url, 2)
    assert (refill(database), reconcile(database)) == (0, 0)  # It has two messages, which is enough.
    take(redis_url, 1)
    for job_id in eight[:3]:
        claim(database, job_id)
    assert (refill(database), read_job_ids()) == (3, set(eight[3:7]))
    assert count_waiting() == {"fast": 0, "bulk": 4}


def test_dispatch_sends_up_to_the_high_mark_for_who_stays_and_all_for_others(database, broker, marks):
    order = Order((), find_checkpoint("musicnn"), "regions", job_tracks=1)
    run_id = plan(database, put_tracks(database, list(range(8))))
    assert dispatch(database, run_id, order, page_tracks=3) == 8
    assert count_waiting() == {"fast": 3, "bulk": 0}  # As the first page had it: enough for the low mark.
    other_id = plan(database, put_tracks(database, list(range(20, 28)), b"/other"))
    assert dispatch(database, other_id, order, "bulk", page_tracks=3, followed=False) == 8
    assert count_waiting() == {"fast": 3, "bulk": 8}


def test_a_full_queue_does_not_keep_the_other_one_waiting(database, broker, marks, eight):
    send(dict.fromkeys(eight, "bulk"))
    (fast,) = put_jobs(database, 1, "fast", b"/fast")
    assert refill(database) == 1
    assert read_job_ids() == {*eight, fast}
    assert count_waiting() == {"fast": 1, "bulk": 8}


def test_a_job_that_lost_its_message_is_the_first_to_get_another_one(database, broker, redis_url, marks, eight):
    send(dict.fromkeys(eight[1:4], "bulk"))
    assert reconcile(database) == 0  # The queue has enough for now.
    take(redis_url, 2)
    assert reconcile(database) == 3
    assert read_job_ids() == {*eight[:3], eight[3]}


def test_messages_are_not_read_while_the_queue_is_full(database, broker, marks, eight, monkeypatch):
    send(dict.fromkeys(eight[:2], "bulk"))
    monkeypatch.setattr("producer.messages.read_job_ids", None)
    assert (refill(database), reconcile(database)) == (0, 0)


def test_messages_are_not_read_by_refill_while_each_job_has_one(database, broker, marks, monkeypatch):
    (job_id,) = put_jobs(database, 1, "bulk", b"/one")
    send({job_id: "bulk"})
    monkeypatch.setattr("producer.messages.read_job_ids", None)
    assert refill(database) == 0


def test_a_message_of_an_earlier_genremill_is_passed_over(database, broker, job_id):
    app.send_task(TASK, ("9b1deb4d",), task_id="9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", queue="bulk")
    assert reconcile(database) == 1
    assert read_job_ids() == {job_id}
