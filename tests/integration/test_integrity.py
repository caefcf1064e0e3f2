"""What `genremill db check` finds in a database to which something was done."""

from contextlib import contextmanager

import pytest
from sqlalchemy import insert

from db import integrity
from db.integrity import Relation, count_orphans, find_problems, list_relations
from db.session import connect
from db.tables import Base, Embedding
from tests.integration.rows import analyse, plan, put_tracks


@pytest.fixture
def analysed(database):
    """A database with a run of three tracks, whose genres and embeddings are known."""
    analyse(database, plan(database, put_tracks(database, ["a", "b", "c"])))
    with database.write() as connection:
        connection.execute(insert(Embedding), [{"prediction_id": id, "vector": b"1234"} for id in (1, 2, 3)])
    return database


@contextmanager
def unwatched(database):
    """A transaction in which the database does not watch over foreign keys."""
    if database.file is None:
        with database.write() as connection:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            yield connection
        return
    with database.maintain() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        yield connection
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")


def do(database, *statements: str) -> None:
    """Execute these statements, whatever becomes an orphan by them."""
    with unwatched(database) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def problems(database) -> list[str]:
    return list(find_problems(database))


def test_nothing_is_wrong_with_what_genremill_does(database, analysed):
    assert problems(database) == []
    plan(database, put_tracks(database, ["d", None], b"/other"))
    assert problems(database) == []


def test_every_foreign_key_is_a_relation():
    relations = list_relations()
    assert Relation("track", ("library_id",), "library", ("id",)) in relations
    assert Relation("prediction", ("duplicate_of",), "track", ("id",)) in relations
    keys = [key for table in Base.metadata.tables.values() for key in table.foreign_key_constraints]
    assert len(set(relations)) == len(keys) + len(integrity.UNDECLARED_RELATIONS)


def test_rows_whose_parent_is_gone_are_counted_by_relation(analysed):
    do(analysed, "DELETE FROM prediction WHERE track_id = 2", "DELETE FROM track WHERE id = 3")
    with analysed.read() as connection:
        orphans = count_orphans(
            connection,
            [
                Relation("embedding", ("prediction_id",), "prediction", ("id",)),
                Relation("prediction", ("track_id",), "track", ("id",)),
                Relation("prediction", ("duplicate_of",), "track", ("id",)),
                Relation("genre", ("model_id",), "model", ("id",)),
            ],
        )
    assert {relation.child: count for relation, count in orphans.items()} == {"embedding": 1, "prediction": 1}


def test_a_parent_has_to_agree_in_every_column(analysed):
    relation = Relation("prediction", ("run_id", "coverage"), "run", ("id", "coverage"))
    do(analysed, "UPDATE prediction SET coverage = 'full' WHERE track_id = 1")
    with analysed.read() as connection:
        assert count_orphans(connection, [relation]) == {relation: 1}


def test_a_row_without_a_value_needs_no_parent(analysed):
    relation = Relation("prediction", ("job_id",), "job", ("id",))
    do(analysed, "UPDATE prediction SET job_id = NULL")
    with analysed.read() as connection:
        assert count_orphans(connection, [relation]) == {}


def test_orphans_are_told_one_line_for_each_relation(analysed):
    do(analysed, "UPDATE run SET found = 2", "DELETE FROM prediction WHERE track_id = 2")
    found = problems(analysed)
    assert "embedding: 1 rows whose prediction is gone (prediction_id)" in found
    assert ("score_row: 3 rows whose prediction is gone (prediction_id)" in found) == (analysed.file is not None)
    assert len(found) == (1 if analysed.file is None else 2)


def test_a_relation_that_is_no_foreign_key_is_checked_too(analysed, monkeypatch):
    relation = Relation("run", ("found",), "track", ("id",))
    monkeypatch.setattr(integrity, "UNDECLARED_RELATIONS", (relation,))
    assert problems(analysed) == []
    do(analysed, "DELETE FROM prediction WHERE track_id = 3")
    do(analysed, "UPDATE run SET skipped = 1", "DELETE FROM track WHERE id = 3")
    assert problems(analysed) == ["run: 1 rows whose track is gone (found)"]


def test_a_run_that_does_not_add_up_is_told(analysed):
    do(analysed, "UPDATE run SET found = 7, skipped = 1")
    assert problems(analysed) == ["run 1: 7 tracks were found, but 1 skipped + 3 done = 4"]


@pytest.mark.parametrize(("revision", "told"), [("9999", "newer genremill"), (None, "nothing was analysed")])
def test_tables_of_another_version_are_told_and_not_looked_at(analysed, revision, told):
    where = (
        "DELETE FROM alembic_version" if revision is None else f"UPDATE alembic_version SET version_num='{revision}'"
    )
    do(analysed, "UPDATE run SET found = 7", where)
    (problem,) = problems(analysed)
    assert told in problem


def test_a_damaged_file_is_told(tmp_path):
    path = tmp_path / "genremill.db"
    database = connect(f"sqlite:///{path}")
    analyse(database, plan(database, put_tracks(database, [str(number) for number in range(300)])))
    with database.maintain() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        page_bytes = connection.exec_driver_sql("PRAGMA page_size").scalar()
        page = connection.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'track'").scalar()
    database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * page_bytes)
        file.write(b"\xff" * page_bytes)
    database = connect(f"sqlite:///{path}")
    found = problems(database)
    database.close()
    assert found
    assert all(problem.startswith(("SQLite: ", "the database cannot be read: ")) for problem in found)
    assert not any("\n" in problem for problem in found)
