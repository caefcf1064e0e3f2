"""How a database is made or migrated, and addresses that are none."""

import subprocess
import sys
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from db.session import connect
from db.tables import Base
from settings import GenremillError

SCORES = {  # What migrations make in one kind of database only, so that db.tables does not declare it.
    "sqlite": {("table", "score_row")},
    "postgresql": {("column", "probabilities"), ("column", "ranks")},
}


def test_the_migrations_make_the_declared_tables(database):
    with database.read() as connection:
        kept = SCORES[connection.dialect.name]
        options = {"include_object": lambda item, name, kind, reflected, other: (kind, name) not in kept}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_many_start_on_an_empty_database_at_once(database_url):
    code = f"from db.session import connect; connect({database_url!r}).close()"
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(8)]
    assert [process.wait(60) for process in started] == [0] * 8


def test_sqlite_is_set_up(tmp_path):
    database = connect(f"sqlite:///{tmp_path}/genremill.db")
    with database.read() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        }
    database.close()
    assert found == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000}


BUSY_WRITER = """
import sys, threading, time
from db import revisions
from db.session import connect

database = connect(sys.argv[1])

def write():
    while True:
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE written SET by_other = by_other + 1")
            time.sleep(0.005)

for _ in range(4):
    threading.Thread(target=write).start()
"""


def test_processes_that_write_all_the_time_take_turns(tmp_path):
    url = f"sqlite:///{tmp_path}/genremill.db"
    database = connect(url)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE written (by_other INTEGER)")
        connection.exec_driver_sql("INSERT INTO written VALUES (0)")
    with subprocess.Popen([sys.executable, "-c", BUSY_WRITER, url]) as other:
        seen = [0]
        while not seen[0] or len(seen) < 100:
            with database.write() as connection:
                count = connection.exec_driver_sql("SELECT * FROM written").scalar()
                seen = [*seen, count] if seen[0] else [count]
                time.sleep(0.005)
        other.kill()
    database.close()
    assert len(seen) / 2 < seen[-1] - seen[0] < len(seen) * 2


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://127.0.0.1:1/none",
        "postgresql://127.0.0.1:port/none",
        "postgresql+nothing://127.0.0.1/none",
        "postgresql+asyncpg://127.0.0.1/none",
        "sqlite:////proc/none/x.db",
        "sqlite:////dev/null/x.db",
        "sqlite:////dev",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://h/n",
        "nonsense",
    ],
)
def test_a_database_that_is_not_to_be_had(url):
    with pytest.raises(GenremillError, match="GENREMILL_DATABASE_URL") as caught:
        connect(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://me:secret@127.0.0.1:1/none", "mysql://me:secret@h/n", "postgresql://me:secret/word@h/n"]
)
def test_a_password_is_not_shown(url):
    with pytest.raises(GenremillError) as caught:
        connect(url)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "music.db").write_bytes(b"no database" * 1000)
    with pytest.raises(GenremillError, match="GENREMILL_DATABASE_URL"):
        connect(f"sqlite:///{tmp_path}/music.db")
    assert (tmp_path / "music.db").read_bytes() == b"no database" * 1000
