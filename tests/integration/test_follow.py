"""Staying with a run until it is done."""

import time
from dataclasses import replace

import pytest

from producer.dispatch import dispatch
from producer.follow import follow
from producer.messages import read_job_ids
from producer.order import Order
from settings import GenremillError
from tests.integration.rows import analyse, claim, outcomes, plan, put_job, put_tracks, record, rows
from worker.models.checkpoints import find_checkpoint


@pytest.fixture
def order():
    return Order((), find_checkpoint("musicnn"), "regions")


def test_a_run_that_is_done_is_counted_once(database, order):
    run_id = plan(database, put_tracks(database, [1]))
    analyse(database, run_id)
    polled = []
    (counts,) = follow(database, run_id, order, lambda: polled.append(None))
    assert (counts.found, counts.done, polled) == (1, 1, [])


def test_counts_come_until_nothing_is_open(database, broker, order):
    run_id = plan(database, put_tracks(database, [1, 2]))
    job = claim(database, put_job(database, run_id))
    entries = outcomes(database, job)
    counts = follow(database, run_id, order, lambda: record(database, [entries.pop()]), interval_s=0.0)
    assert [(count.running, count.done) for count in counts] == [(2, 0), (1, 1), (0, 2)]
    assert entries == []


def test_what_gets_lost_is_queued_again(database, broker, order):
    """A job whose lease ends, and a duplicate whose original fails."""
    run_id = plan(database, put_tracks(database, [1, 2]))
    lost = put_job(database, run_id)
    claim(database, lost, lease_s=-1)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'pending' WHERE track_id = 2")
    counting = follow(database, run_id, order, interval_s=0.0, reconcile_interval_s=0.0)
    first, second = next(counting), next(counting)
    assert (first.running, first.pending, second.queued) == (1, 1, 2)
    assert read_job_ids() == {row[0] for row in rows(database, "SELECT id FROM job")}
    assert len(read_job_ids()) == 2


def test_a_lost_job_is_not_looked_for_before_it_is_time_for_it(database, broker, order):
    run_id = plan(database, put_tracks(database, [1]))
    claim(database, put_job(database, run_id), lease_s=-1)
    counting = follow(database, run_id, order, interval_s=0.0)
    for _ in range(3):
        assert next(counting).running == 1
    assert read_job_ids() == set()


def test_the_queue_is_filled_between_two_looks_for_lost_jobs(database, broker, order, data_dir, monkeypatch):
    """Each job has one track. The queue gets empty each time that it is looked at."""
    monkeypatch.setenv("GENREMILL_QUEUE_LOW", "2")
    monkeypatch.setenv("GENREMILL_QUEUE_HIGH", "3")
    run_id = plan(database, put_tracks(database, list(range(7))))
    assert dispatch(database, run_id, replace(order, job_tracks=1)) == 7
    sent = []

    def work():
        """Do all jobs that have a message."""
        sent.append(read_job_ids())
        broker.flushall()
        for job_id in sent[-1]:
            record(database, outcomes(database, claim(database, job_id)))

    assert [counts.done for counts in follow(database, run_id, order, work, interval_s=0.0)] == [0, 3, 6, 7]
    assert sent == [{1, 2, 3}, {4, 5, 6}, {7}]


def test_a_broker_may_be_away_for_a_while(database, broker, order, processes, monkeypatch):
    run_id = plan(database, put_tracks(database, [1]))
    put_job(database, run_id)
    processes[-1].kill()
    processes[-1].wait()
    counting = follow(database, run_id, order, interval_s=0.0)
    for _ in range(3):
        assert next(counting).queued == 1
    monkeypatch.setattr("producer.follow.BROKER_PATIENCE_S", 0.0)
    with pytest.raises(GenremillError, match="GENREMILL_BROKER_URL"):
        next(counting)


def test_the_pause_is_as_long_as_wanted_or_longer_where_counting_takes_long(database, order, monkeypatch):
    monkeypatch.setattr("producer.follow.refill", lambda database: 0)
    run_id = plan(database, put_tracks(database, [1]))
    clock, pauses = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", pauses.append)
    counting = follow(database, run_id, order, interval_s=0.25, reconcile_interval_s=1e9)
    next(counting)
    next(counting)
    monkeypatch.setattr(time, "monotonic", lambda: clock.__setitem__(0, clock[0] + 0.5) or clock[0])
    next(counting)
    next(counting)
    assert pauses == [0.25, 0.25, 10.0]


def test_a_run_is_left_when_a_newer_genremill_has_migrated_the_database(database, order):
    run_id = plan(database, put_tracks(database, ["a"]))
    counting = follow(database, run_id, order, interval_s=0.0)
    assert next(counting).pending == 1
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(GenremillError, match="made by a newer genremill"):
        next(counting)
