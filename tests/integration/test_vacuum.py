"""Giving back the space of deleted rows, alone and while others work."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy.exc import OperationalError

from db import session, vacuum
from db.session import connect
from settings import GenremillError
from tests.conftest import new_postgres_database
from tests.integration.rows import claim, finish, outcomes, plan, put_job, put_tracks, record

TRACKS = 20_000


@pytest.fixture
def impatient(tmp_path, monkeypatch):
    """A SQLite database whose connections wait for others for a tenth of a second only."""
    monkeypatch.setattr(session, "SQLITE_TIMEOUT_MS", 100)
    database = connect(f"sqlite:///{tmp_path}/genremill.db")
    yield database
    database.close()


def empty_tracks(database) -> None:
    """Let there be many tracks, and then none."""
    put_tracks(database, [None] * TRACKS)
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM track")


def test_the_space_of_deleted_rows_is_given_back(database):
    empty_tracks(database)
    sizes = vacuum.vacuum(database)
    assert sizes.before_bytes > 1_500_000
    assert sizes.after_bytes < sizes.before_bytes / (4 if database.file else 2)  # PostgreSQL keeps the indexes' pages.
    assert sizes.complete
    assert sizes.after_bytes == vacuum.measure_bytes(database)
    put_tracks(database, ["a"])


def test_postgres_has_new_statistics(postgres):
    database = connect(new_postgres_database(postgres))
    put_tracks(database, [None] * 1000)
    vacuum.vacuum(database)
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT reltuples FROM pg_class WHERE relname = 'track'").scalar()
    database.close()
    assert rows == 1000


def test_while_workers_hold_jobs_sqlite_is_left_alone_and_postgres_is_vacuumed(database):
    job = claim(database, put_job(database, plan(database, put_tracks(database, ["a"]))))
    if database.file is None:
        assert vacuum.vacuum(database).complete
        return
    with pytest.raises(GenremillError, match=r"a run is going on, and workers hold 1 of its jobs: vacuum when"):
        vacuum.vacuum(database)
    record(database, outcomes(database, job))
    finish(database, job)
    assert vacuum.vacuum(database).complete


def test_a_job_whose_lease_has_ended_does_not_stop_it(database):
    assert claim(database, put_job(database, plan(database, put_tracks(database, ["a"]))), lease_s=-1)
    assert vacuum.vacuum(database).complete


def test_the_file_gets_smaller_when_those_who_read_it_have_ended(impatient):
    put_tracks(impatient, [None] * TRACKS)
    with closing(sqlite3.connect(impatient.file, timeout=0)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM track").fetchone() == (TRACKS,)
        with impatient.write() as connection:
            connection.exec_driver_sql("DELETE FROM track")
        assert not vacuum.vacuum(impatient).complete
        assert reader.execute("SELECT count(*) FROM track").fetchone() == (TRACKS,)
    assert vacuum.vacuum(impatient).complete
    assert vacuum.measure_bytes(impatient) < 500_000


def test_a_file_that_somebody_writes_is_left_alone(impatient):
    with closing(sqlite3.connect(impatient.file, timeout=0)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(GenremillError, match=r"cannot be vacuumed now: database is locked; try again when"):
            vacuum.vacuum(impatient)


def test_too_little_space_is_told(database):
    full = sqlite3.OperationalError("database or disk is full")
    told = str(vacuum._explain(database, OperationalError("VACUUM", {}, full)))
    assert told.startswith("there is too little free space")
    assert "SQLITE_TMPDIR" in told
