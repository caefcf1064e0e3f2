"""Staying with a run until it is done."""

import time

import pytest

from producer.follow import follow
from producer.order import Order
from producer.reconcile import read_job_ids
from tests.integration.rows import analyse, claim, outcomes, plan, put_job, put_tracks, record, rows
from worker.models.checkpoints import find_checkpoint


@pytest.fixture
def order():
    return Order((), find_checkpoint("musicnn"), "regions")


def test_a_run_that_is_done_is_counted_once(database, order):
    run_id = plan(database, put_tracks(database, ["a"]))
    analyse(database, run_id)
    polled = []
    (counts,) = follow(database, run_id, order, lambda: polled.append(None))
    assert (counts.found, counts.done, polled) == (1, 1, [])


def test_counts_come_until_nothing_is_open(database, order):
    run_id = plan(database, put_tracks(database, ["a", "b"]))
    job = claim(database, put_job(database, run_id))
    entries = outcomes(database, job)
    counts = follow(database, run_id, order, lambda: record(database, [entries.pop()]), interval_s=0.0)
    assert [(count.running, count.done) for count in counts] == [(2, 0), (1, 1), (0, 2)]
    assert entries == []


def test_what_gets_lost_is_queued_again(database, broker, order):
    """A job whose lease ends, and a duplicate whose original fails."""
    run_id = plan(database, put_tracks(database, ["a", "b"]))
    lost = put_job(database, run_id)
    claim(database, lost, lease_s=-1)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'pending' WHERE track_id = 2")
    counting = follow(database, run_id, order, interval_s=0.0, reconcile_interval_s=0.0)
    first, second = next(counting), next(counting)
    assert (first.running, first.pending, second.queued) == (1, 1, 2)
    assert read_job_ids() == {row[0] for row in rows(database, "SELECT id FROM job")}
    assert len(read_job_ids()) == 2


def test_nothing_is_sent_before_it_is_time_for_it(database, broker, order):
    run_id = plan(database, put_tracks(database, ["a"]))
    put_job(database, run_id)
    counting = follow(database, run_id, order, interval_s=0.0)
    for _ in range(3):
        next(counting)
    assert read_job_ids() == set()


def test_the_pause_is_as_long_as_wanted_or_longer_where_counting_takes_long(database, order, monkeypatch):
    run_id = plan(database, put_tracks(database, ["a"]))
    clock, pauses = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", pauses.append)
    counting = follow(database, run_id, order, interval_s=0.25)
    next(counting)
    next(counting)
    monkeypatch.setattr(time, "monotonic", lambda: clock.__setitem__(0, clock[0] + 0.5) or clock[0])
    next(counting)
    next(counting)
    assert pauses == [0.25, 0.25, 10.0]
