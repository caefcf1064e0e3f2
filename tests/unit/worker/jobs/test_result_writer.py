"""Outcomes into a real database, many to a transaction."""

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.exc import OperationalError

from db.outcomes import Outcome
from db.session import Database
from tests.conftest import wait_until
from tests.integration.rows import claim, counts, outcomes, plan, put_job, put_tracks, rows
from worker.jobs.result_writer import MAX_OUTCOMES, ResultWriter


@pytest.fixture
def writer(database):
    writer = ResultWriter(database)
    yield writer
    writer.close()


class Told:
    """What the writer has said of outcomes, one after the other."""

    def __init__(self):
        self.errors, self._one = [], threading.Semaphore(0)

    def add(self, error):
        self.errors.append(error)
        self._one.release()

    def wait(self, count):
        for _ in range(count):
            assert self._one.acquire(timeout=60)
        return self.errors


def test_an_outcome_is_stored_before_anybody_is_told(database, writer, job):
    stored = []

    def look(error):
        stored.append((error, rows(database, "SELECT count(*) FROM prediction WHERE status = 'done'")))

    writer.put(outcomes(database, job, 0.5)[0], look)
    wait_until(lambda: stored)
    assert stored == [(None, [(1,)])]
    assert rows(database, "SELECT probability FROM score ORDER BY genre_id") == [(0.5,), (0.25,), (0.125,)]


def test_outcomes_that_gather_during_a_transaction_share_the_next_one(database, writer):
    tracks = 2 * MAX_OUTCOMES + 1
    library = put_tracks(database, [f"{number}" for number in range(tracks)])
    run_id = plan(database, library)
    entries = outcomes(database, claim(database, put_job(database, run_id)))
    told, commits = Told(), []
    with database.write():
        event.listen(database._engine, "commit", commits.append)
        for outcome in entries:
            writer.put(outcome, told.add)
    assert told.wait(tracks) == [None] * tracks
    assert len(commits) == 1 + 3  # that of this test, and three of at most 64 outcomes
    assert counts(database, run_id) == {"found": tracks, "done": tracks}


def test_close_stores_what_was_put(database, job):
    writer, told = ResultWriter(database), Told()
    for outcome in outcomes(database, job):
        writer.put(outcome, told.add)
    writer.close()
    assert told.errors == [None] * 4
    assert rows(database, "SELECT count(*) FROM prediction WHERE status = 'done'") == [(4,)]


def test_an_outcome_that_is_there_already_counts_as_stored(database, writer, job):
    first, told = outcomes(database, job, 0.5)[0], Told()
    writer.put(first, told.add)
    told.wait(1)
    writer.put(replace(first, probabilities=(1.0, 1.0, 1.0)), told.add)
    assert told.wait(1) == [None, None]
    assert rows(database, "SELECT probability FROM score ORDER BY genre_id") == [(0.5,), (0.25,), (0.125,)]


def test_an_error_reaches_every_outcome_of_its_transaction_and_none_of_the_next_one(database, writer, job):
    good, bad, other, late = outcomes(database, job)
    told, later = Told(), Told()
    with database.write():  # so that these three gather
        for outcome in (good, replace(bad, genre_ids=(97, 98, 99)), other):
            writer.put(outcome, told.add)
    errors = told.wait(3)
    assert [type(error) for error in errors] == [ValueError] * 3
    assert rows(database, "SELECT count(*) FROM prediction WHERE status = 'done'") == [(0,)]
    writer.put(late, later.add)
    assert later.wait(1) == [None]
    assert rows(database, "SELECT count(*) FROM prediction WHERE status = 'done'") == [(1,)]


@pytest.fixture
def impatient_database(database, tmp_path):
    """The same database, opened by somebody who does not wait for locks."""
    impatient = Database(create_engine(f"sqlite:///{tmp_path}/genremill.db", connect_args={"timeout": 0}))
    yield impatient
    impatient.close()


@pytest.fixture
def lock(database, tmp_path):
    """Somebody else's lock on the database."""
    with closing(sqlite3.connect(tmp_path / "genremill.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def test_while_the_database_takes_nothing_outcomes_wait_and_none_is_lost(
    database, job, impatient_database, lock, caplog
):
    writer, told = ResultWriter(impatient_database), Told()
    for outcome in failures(job):
        writer.put(outcome, told.add)
    wait_until(lambda: caplog.text.count("the database does not take outcomes") >= 2)
    assert told.errors == []
    assert caplog.text.index("trying again in 0.1 s") < caplog.text.index("trying again in 0.5 s")
    assert caplog.text.count("trying again") <= 4  # it waits between its attempts
    lock.execute("ROLLBACK")
    assert told.wait(4) == [None] * 4
    writer.close()
    assert rows(database, "SELECT count(*) FROM prediction WHERE status = 'failed'") == [(4,)]


def test_close_does_not_wait_for_a_database_that_takes_nothing(database, job, impatient_database, lock):
    writer, told = ResultWriter(impatient_database), Told()
    for outcome in failures(job):
        writer.put(outcome, told.add)
    writer.close()
    assert [type(error) for error in told.errors] == [OperationalError] * 4


def failures(job):
    """An outcome for each track of the job that needs no genres, and so nothing of the database."""
    common = {"job_id": job.id, "model_id": job.model_id, "coverage": job.coverage, "device": "cpu", "amp": False}
    failure = {"error_code": "missing", "error_detail": "it is gone"}
    return [Outcome(track_id=track.id, **common, **failure) for track in job.tracks]
