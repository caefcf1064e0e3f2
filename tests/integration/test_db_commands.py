"""`genremill db`, as it is typed: what it prints, and its exit codes."""

import json
from contextlib import closing

import pytest

import settings
from db import revisions, vacuum
from db.session import connect
from genremill import console
from genremill.cli import app
from tests.integration.rows import analyse, claim, plan, put_job, put_tracks
from tests.support.later_migrations import columns, write_later_migrations


@pytest.fixture
def type_in(database_url, monkeypatch, capsys):
    """Runs `genremill db` with these arguments on the database. Returns the exit code, stdout and stderr."""
    monkeypatch.setenv("GENREMILL_DATABASE_URL", database_url)
    settings.load.cache_clear()

    def run(*arguments: str) -> tuple[int, str, str]:
        code = console.guarded(lambda: app(["db", *arguments], prog_name="genremill"))
        return code, *capsys.readouterr()

    yield run
    settings.load.cache_clear()


@pytest.fixture
def later(tmp_path, monkeypatch):
    """Makes this process a genremill with two more migrations."""
    return lambda: monkeypatch.setattr(
        revisions, "MIGRATIONS", write_later_migrations(tmp_path / "later", *columns(["one", "two"]))
    )


def test_upgrade_tells_each_migration_and_then_that_nothing_is_to_be_done(type_in, database, later):
    later()
    code, out, err = type_in("upgrade")
    assert code == 0
    assert err.splitlines() == [
        "upgrading the database to revision 9001: Step 9001.",
        "one is there",
        "upgrading the database to revision 9002: Step 9002.",
        "two is there",
    ]
    assert out == f"done: {database.address} is at revision 9002\n"
    code, out, err = type_in("upgrade")
    assert (code, out, err) == (0, f"nothing to do: {database.address} is at revision 9002\n", "")


def test_upgrade_says_in_json_from_where_to_where(type_in, database, later):
    before = revisions.newest()
    later()
    _, out, _ = type_in("upgrade", "--json")
    assert json.loads(out) == {"database": database.address, "before": before, "after": "9002"}


def test_upgrade_makes_a_database_that_is_not_there(type_in, database_url):
    code, out, err = type_in("upgrade")
    assert (code, err) == (0, "making the tables\n")
    assert out.startswith("done: ")
    assert type_in("check")[0] == 0


def test_check_says_that_nothing_is_wrong(type_in, database):
    analyse(database, plan(database, put_tracks(database, ["a"])))
    assert type_in("check") == (0, f"nothing is wrong with {database.address}\n", "")
    assert json.loads(type_in("check", "--json")[1]) == {"database": database.address, "problems": []}


def test_check_prints_a_line_for_each_problem_and_exits_with_1(type_in, database):
    analyse(database, plan(database, put_tracks(database, ["a"])))
    analyse(database, plan(database, put_tracks(database, ["b"], b"/other")))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE run SET found = 3")
    lines = [f"run {number}: 3 tracks were found, but 1 done = 1" for number in (1, 2)]
    assert type_in("check") == (1, "\n".join(lines) + "\n", "")
    code, out, _ = type_in("check", "--json")
    assert (code, json.loads(out)["problems"]) == (1, lines)


def test_check_tells_an_older_database_and_leaves_it_alone(type_in, database, later):
    later()
    for _ in range(2):
        code, out, _ = type_in("check")
        assert code == 1
        assert "`genremill db upgrade`" in out
        assert out.count("\n") == 1


def test_vacuum_says_how_large_the_database_was_and_is(type_in, database):
    code, out, _ = type_in("vacuum")
    assert code == 0
    assert out.startswith(f"{database.address}: ")
    assert out.endswith(" MiB after\n")
    found = json.loads(type_in("vacuum", "--json")[1])
    assert found["database"] == database.address
    assert found["before_bytes"] >= found["after_bytes"] > 0
    assert found["complete"]


def test_vacuum_says_that_the_file_gets_smaller_later(type_in, database, monkeypatch):
    monkeypatch.setattr(vacuum, "vacuum", lambda database: vacuum.Sizes(3 << 20, 5 << 20, complete=False))
    assert type_in("vacuum")[1].splitlines() == [
        f"{database.address}: 3.0 MiB before, 5.0 MiB after",
        "others are reading the database: its file gets smaller when they have ended",
    ]


def test_vacuum_of_a_busy_database_is_one_line(type_in, database):
    claim(database, put_job(database, plan(database, put_tracks(database, ["a"]))))
    code, out, err = type_in("vacuum")
    if database.file is None:
        assert code == 0
        return
    assert (code, out) == (2, "")
    assert err.startswith("genremill: a run is going on")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["check", "vacuum"])
def test_where_there_is_no_database_none_is_made(type_in, database_url, tmp_path, name):
    before = sorted(tmp_path.iterdir())
    code, out, err = type_in(name)
    assert (code, out) == (2, "")
    assert err.startswith("genremill: nothing was analysed yet")
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("arguments", [("upgrade",), ("vacuum",), ("upgrade", "--json")])
def test_a_newer_database_is_refused(type_in, database_url, arguments):
    with closing(connect(database_url)) as database, database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    code, out, err = type_in(*arguments)
    assert (code, out) == (2, "")
    assert "was made by a newer genremill" in err
    assert err.count("\n") == 1
