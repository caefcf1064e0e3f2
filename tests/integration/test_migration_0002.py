"""Migration 0002 on a database that an older genremill has filled."""

import pytest
from alembic import command
from alembic.config import Config

from db import revisions
from db.integrity import find_problems
from db.session import connect, connect_as_it_is
from tests.integration.rows import rows

T = "'2026-01-01 00:00:0{}.000000+00'"
OLD_ROWS = f"""
INSERT INTO library (id, root) VALUES (1, '/music');
INSERT INTO model (id, name, version, weights_sha256) VALUES (1, 'one', '1', 'w'), (2, 'two', '1', 'w');
INSERT INTO genre (id, model_id, name, kind) VALUES
    (1, 1, 'rock', 'genre'), (2, 1, 'jazz', 'genre'), (3, 1, 'happy', 'mood'), (4, 2, 'rock', 'genre');
INSERT INTO run (id, model_id, coverage, found, skipped, handed_over, started_at) VALUES
    (1, 1, 'regions', 4, 0, 0, {T.format(1)}), (2, 2, 'full', 1, 0, 0, {T.format(2)});
INSERT INTO run_library (run_id, library_id) VALUES (1, 1), (2, 1);
INSERT INTO track (id, library_id, path, size_bytes, mtime_ns, audio_hash, first_seen_at, last_seen_at) VALUES
    (1, 1, 'a/done.mp3', 1, 1, '{"0" * 16}7fffffffffffffff', {T.format(1)}, {T.format(1)}),
    (2, 1, 'a/copy.mp3', 1, 1, '{"0" * 16}7fffffffffffffff', {T.format(1)}, {T.format(1)}),
    (3, 1, 'failed.mp3', 1, 1, '{"a" * 32}', {T.format(1)}, {T.format(1)}),
    (7, 1, 'queued.mp3', 1, 1, NULL, {T.format(1)}, {T.format(1)});
INSERT INTO job (id, run_id, queue, status, tracks, audio_s, attempts, queued_at) VALUES
    ('uuid-b', 1, 'bulk', 'queued', 1, 34, 0, {T.format(2)}), ('uuid-a', 1, 'bulk', 'done', 3, 99, 1, {T.format(1)});
INSERT INTO prediction (track_id, model_id, coverage, run_id, job_id, status, audio_hash, duplicate_of, attempts,
                        error_code, finished_at) VALUES
    (1, 1, 'regions', 1, 'uuid-a', 'done', '{"0" * 16}7fffffffffffffff', NULL, 1, NULL, {T.format(3)}),
    (2, 1, 'regions', 1, NULL, 'duplicate', '{"0" * 16}7fffffffffffffff', 1, 0, NULL, NULL),
    (3, 1, 'regions', 1, 'uuid-a', 'failed', '{"a" * 32}', NULL, 1, 'silent', {T.format(3)}),
    (7, 1, 'regions', 1, 'uuid-b', 'queued', NULL, NULL, 0, NULL, NULL),
    (1, 2, 'full', 2, NULL, 'done', '{"0" * 16}7fffffffffffffff', NULL, 1, NULL, {T.format(4)});
INSERT INTO score (track_id, model_id, coverage, genre_id, probability) VALUES
    (1, 1, 'regions', 1, 0.25), (1, 1, 'regions', 2, 0.5), (1, 1, 'regions', 3, 0.125), (1, 2, 'full', 4, 0.75);
"""


@pytest.fixture
def old_url(database_url):
    """The address of a database of revision 0001 with rows of every kind."""
    connect(database_url).close()  # Makes the file of a SQLite database.
    database = connect_as_it_is(database_url)
    with database.write() as connection:
        for view in ("album_genre", "track_best", "track_genre", "track_tag", "score"):
            connection.exec_driver_sql(f"DROP VIEW {view}")
        for table in ("embedding", "score_row", "prediction", "job", "run_library", "run", "genre", "model", "track"):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
        connection.exec_driver_sql("DROP TABLE library")
        connection.exec_driver_sql("DROP TABLE alembic_version")
        config = Config()
        config.set_main_option("script_location", str(revisions.MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in OLD_ROWS.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    database.close()
    return database_url


@pytest.fixture
def upgraded(old_url):
    database = connect(old_url)
    yield database
    database.close()


def test_nothing_is_wrong_afterwards(upgraded):
    assert list(find_problems(upgraded)) == []


def test_every_score_is_there_with_its_rank(upgraded):
    scores = "SELECT track_id, model_id, coverage, genre_id, probability, rank FROM score ORDER BY 1, 2, 4"
    assert rows(upgraded, scores) == [
        (1, 1, "regions", 1, 0.25, 2),
        (1, 1, "regions", 2, 0.5, 1),
        (1, 1, "regions", 3, 0.125, 1),
        (1, 2, "full", 4, 0.75, 1),
        (2, 1, "regions", 1, 0.25, 2),  # The copy has got scores of its own.
        (2, 1, "regions", 2, 0.5, 1),
        (2, 1, "regions", 3, 0.125, 1),
    ]


def test_each_track_has_one_newest_analysis(upgraded):
    assert rows(upgraded, "SELECT path, model, genre, probability FROM track_best ORDER BY path") == [
        ("/music/a/copy.mp3", "one", "jazz", 0.5),
        ("/music/a/done.mp3", "two", "rock", 0.75),
    ]
    assert rows(upgraded, "SELECT count(*) FROM prediction WHERE is_newest") == [(2,)]


def test_predictions_keep_what_they_were(upgraded):
    known = "SELECT track_id, model_id, status, run_id, job_id, duplicate_of, attempts, error_code FROM prediction"
    assert rows(upgraded, f"{known} ORDER BY 1, 2") == [
        (1, 1, "done", 1, 1, None, 1, None),
        (1, 2, "done", 2, None, None, 1, None),
        (2, 1, "duplicate", 1, None, 1, 0, None),
        (3, 1, "failed", 1, 1, None, 1, "silent"),
        (7, 1, "queued", 1, 2, None, 0, None),
    ]


def test_jobs_have_numbers_in_the_order_in_which_they_were_queued(upgraded):
    assert rows(upgraded, "SELECT id, status, tracks FROM job ORDER BY id") == [(1, "done", 3), (2, "queued", 1)]


def test_a_hash_is_the_last_half_of_the_old_one(upgraded):
    assert rows(upgraded, "SELECT id, audio_hash FROM track ORDER BY id") == [
        (1, 0x7FFFFFFFFFFFFFFF),
        (2, 0x7FFFFFFFFFFFFFFF),
        (3, 0xAAAAAAAAAAAAAAAA - 2**64),
        (7, None),
    ]
    assert rows(upgraded, "SELECT count(*) FROM prediction JOIN track ON track.id = track_id "
                          "WHERE prediction.audio_hash IS NOT DISTINCT FROM track.audio_hash") == [(5,)]  # fmt: skip


def test_new_rows_get_new_ids(upgraded):
    with upgraded.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO track (library_id, path, size_bytes, mtime_ns, first_seen_at, last_seen_at) "
            f"VALUES (1, 'new.mp3', 1, 1, {T.format(5)}, {T.format(5)})"
        )
    assert rows(upgraded, "SELECT id FROM track WHERE path = 'new.mp3'") == [(8,)]


def test_runs_concern_all_of_their_libraries(upgraded):
    assert rows(upgraded, "SELECT run_id, library_id, path FROM run_library ORDER BY 1") == [(1, 1, ""), (2, 1, "")]


def test_it_says_how_far_it_is(old_url):
    told = []
    connect(old_url, told.append).close()
    assert "upgrading the database to revision 0002" in told[0]
    assert "scores: 5 of 5 predictions" in told


def test_an_empty_database_of_the_old_kind(old_url):
    database = connect_as_it_is(old_url)
    with database.write() as connection:
        for table in ("score", "prediction", "job", "run_library", "run", "genre", "model", "track", "library"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    database.close()
    database = connect(old_url)
    assert rows(database, "SELECT * FROM track_tag") == []
    assert list(find_problems(database)) == []
    database.close()
