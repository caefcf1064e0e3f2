"""An older genremill beside the database of a newer one: every command says so, and ends once."""

import sys
from contextlib import closing

import pytest

from db.session import connect
from tests.acceptance.person import Person, find_processes_below, write_noises
from tests.conftest import new_postgres_database, wait_until

CELERY_WORKER = ("-m", "celery", "-A", "worker", "worker")


@pytest.fixture(params=["sqlite", "postgresql"])
def person(request, tmp_path, redis_url):
    """Somebody with a broker, and with a database that is there."""
    url = f"sqlite:///{tmp_path}/genremill.db"
    if request.param == "postgresql":
        url = new_postgres_database(request.getfixturevalue("postgres"))
    connect(url).close()
    (tmp_path / "music").mkdir()
    return Person(tmp_path, {"GENREMILL_DATABASE_URL": url, "GENREMILL_BROKER_URL": redis_url})


def become_newer(person) -> None:
    """Let a newer genremill have migrated the database: one that renamed a column."""
    with closing(connect(person.settings["GENREMILL_DATABASE_URL"])) as database, database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE job RENAME COLUMN lease_until TO held_until")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")


def test_every_command_says_so_in_one_line_and_ends(person):
    become_newer(person)
    commands = [["run", "music"], ["enqueue", "music"], ["worker", "--device", "cpu"], ["results"], ["db", "upgrade"]]
    for command in commands:
        printed = person.run(*command, code=2).splitlines()
        assert len(printed) == 1, (command, printed)
        assert "was made by a newer genremill (revision 9999" in printed[0], command
    assert "was made by a newer genremill" in person.run("db", "check", code=1)


def test_a_worker_that_celery_starts_says_so_and_ends(person):
    become_newer(person)
    printed = person.run(*CELERY_WORKER, program=sys.executable, code=2).splitlines()
    assert len(printed) == 1, printed
    assert printed[0].startswith("genremill: the database ")
    assert "was made by a newer genremill" in printed[0]


def test_those_who_are_at_work_when_the_database_is_migrated_end(person, processes, tmp_path):
    write_noises(tmp_path / "noises", 3)
    log = tmp_path / "worker.log"
    with log.open("w") as output:
        worker = person.start("worker", "--device", "cpu", stdout=output, stderr=output)
    processes.append(worker)
    wait_until(lambda: "ready." in log.read_text())
    (celery,) = find_processes_below(worker, "celery_command")[:1]
    celery.suspend()  # So that no job is taken before the database is another one.
    producer = person.start("enqueue", "noises", "--follow")
    processes.append(producer)
    wait_until(lambda: [run["counts"]["queued"] for run in person.read_json("status")] == [3])
    become_newer(person)
    _, told = producer.communicate(timeout=30)
    assert producer.returncode == 2
    assert told.splitlines()[-1].startswith("genremill: the database ")
    celery.resume()
    assert worker.wait(60) == 2
    last = log.read_text().splitlines()[-1]
    assert last.startswith("genremill: the database ")
    assert "was made by a newer genremill" in last
