"""How a database of another version is opened: to work with it, to read it, and as it is."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from db import revisions, session
from db.revisions import NewerDatabaseError, NoDatabaseError, OlderDatabaseError
from db.session import connect, connect_as_it_is, connect_to_read, is_transient
from settings import GenremillError
from tests.integration.rows import put_tracks
from tests.support.later_migrations import FAILS, columns, write_later_migrations


@pytest.fixture
def later(tmp_path, monkeypatch):
    """Lets this process be a genremill with further migrations of these bodies."""
    today = revisions.MIGRATIONS

    def become_later(*bodies: str) -> None:
        monkeypatch.setattr(revisions, "MIGRATIONS", today)
        folder = write_later_migrations(tmp_path / f"migrations-{len(list(tmp_path.iterdir()))}", *bodies)
        monkeypatch.setattr(revisions, "MIGRATIONS", folder)

    return become_later


def columns_of_library(database) -> set[str]:
    with database.read() as connection:
        return {column["name"] for column in inspect(connection).get_columns("library")}


def set_revision(database, revision: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")


def test_an_older_database_is_upgraded_step_by_step_and_each_step_is_told(database, database_url, later):
    put_tracks(database, ["a"])
    before = revisions.newest()
    later(*columns(["one", "two"]))
    told = []
    connect(database_url, told.append).close()
    assert told == [
        "upgrading the database to revision 9001: Step 9001.",
        "one is there",
        "upgrading the database to revision 9002: Step 9002.",
        "two is there",
    ]
    assert columns_of_library(database) == {"id", "root", "missing_since", "one", "two"}
    connect(database_url, told.append).close()
    assert len(told) == 4
    with database.read() as connection:
        assert revisions.read_revision(connection) == "9002" != before
        assert connection.exec_driver_sql("SELECT count(*) FROM track").scalar() == 1


def test_of_a_new_database_nothing_is_told(database_url):
    told = []
    connect(database_url, told.append).close()
    assert told == []


def test_an_upgrade_that_was_cut_off_goes_on_with_the_step_in_which_it_was(database, database_url, later):
    later(*columns(["one"]), FAILS)
    with pytest.raises(RuntimeError, match="killed"):
        connect(database_url)
    assert columns_of_library(database) == {"id", "root", "missing_since", "one"}
    later(*columns(["one", "two"]))
    told = []
    connect(database_url, told.append).close()
    assert told == ["upgrading the database to revision 9002: Step 9002.", "two is there"]
    assert columns_of_library(database) == {"id", "root", "missing_since", "one", "two"}


def test_a_migration_may_keep_what_it_has_done_so_far(database, database_url, later):
    kept = 'op.execute("ALTER TABLE library ADD COLUMN one INTEGER")\n    op.get_bind().commit()\n    '
    later(kept + FAILS.strip())
    with pytest.raises(RuntimeError, match="killed"):
        connect(database_url)
    assert columns_of_library(database) == {"id", "root", "missing_since", "one"}
    with database.read() as connection:
        assert revisions.read_revision(connection) != "9001"


def test_whoever_reads_an_older_database_is_told_and_changes_nothing(database, database_url, later):
    later(*columns(["one"]))
    with pytest.raises(OlderDatabaseError, match=r"made by an older genremill.*`genremill db upgrade`") as caught:
        connect_to_read(database_url)
    assert "\n" not in str(caught.value)
    assert columns_of_library(database) == {"id", "root", "missing_since"}
    connect_as_it_is(database_url).close()
    assert columns_of_library(database) == {"id", "root", "missing_since"}


def test_whoever_reads_a_database_of_this_version_reads_it(database, database_url):
    put_tracks(database, ["a", "b"])
    reader = connect_to_read(database_url)
    with reader.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM track").scalar() == 2
    reader.close()


@pytest.mark.parametrize("open_it", [connect, connect_to_read])
def test_a_newer_database_is_refused(database, database_url, open_it):
    set_revision(database, "9999")
    with pytest.raises(NewerDatabaseError, match=r"newer genremill \(revision 9999.*GENREMILL_DATABASE_URL") as caught:
        open_it(database_url)
    assert "\n" not in str(caught.value)
    set_revision(database, revisions.newest())
    open_it(database_url).close()


@pytest.mark.parametrize("open_it", [connect_to_read, connect_as_it_is])
def test_where_there_is_no_database_none_is_made(database_url, open_it, tmp_path):
    if database_url.startswith("sqlite"):
        database_url = f"sqlite:///{tmp_path}/none/genremill.db"
    with pytest.raises(NoDatabaseError, match=r"nothing was analysed yet.*`genremill run FOLDER`"):
        open_it(database_url)
    assert not (tmp_path / "none").exists()
    database = connect(database_url)
    with database.read() as connection:
        revisions.require_newest(connection)
    database.close()


@pytest.mark.parametrize("open_it", [connect_to_read, connect_as_it_is])
def test_an_empty_file_is_no_database_and_stays_empty(tmp_path, open_it):
    (tmp_path / "genremill.db").touch()
    with pytest.raises(NoDatabaseError):
        open_it(f"sqlite:///{tmp_path}/genremill.db")
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("genremill.db", 0)]


@pytest.mark.parametrize("open_it", [connect_to_read, connect_as_it_is])
@pytest.mark.parametrize("url", ["postgresql://me:secret@127.0.0.1:1/none", "sqlite:////dev", "nonsense"])
def test_what_cannot_be_read_is_told_without_the_password(url, open_it):
    with pytest.raises(GenremillError, match="GENREMILL_DATABASE_URL") as caught:
        open_it(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("open_it", [connect_to_read, connect_as_it_is])
def test_a_database_of_somebody_else_is_not_changed_by_reading(tmp_path, open_it):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE thing (id INTEGER)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(NoDatabaseError):
        open_it(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["other.db"]


@pytest.mark.parametrize("statement", ["SELECT nothing FROM track", "SELECT * FROM nothing"])
def test_a_statement_for_other_tables_does_not_succeed_later(database, statement):
    with database.read() as connection, pytest.raises(SQLAlchemyError) as caught:
        connection.exec_driver_sql(statement)
    assert not is_transient(caught.value)


def test_a_statement_that_a_lock_kept_waiting_may_succeed_later(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "SQLITE_TIMEOUT_MS", 10)
    database = connect(f"sqlite:///{tmp_path}/genremill.db")
    with closing(sqlite3.connect(database.file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SQLAlchemyError) as caught:
            put_tracks(database, ["a"])
    database.close()
    assert is_transient(caught.value)
