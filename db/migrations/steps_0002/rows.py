"""The rows of migration 0002: what the old tables hold goes into the new ones."""

from collections.abc import Iterator
from sqlite3 import Connection as SqliteConnection

import sqlalchemy as sa
from alembic import op

CHUNK = 10_000  # How many predictions one statement copies. After each one there is progress to tell.

COPY_TRACKS = """
INSERT INTO track (id, library_id, path, size_bytes, mtime_ns, audio_hash, duration_s, codec, sample_rate, channels,
                   title, artist, album, tagged_genre, first_seen_at, last_seen_at, missing_since)
SELECT id, library_id, path, size_bytes, mtime_ns, {hash}, duration_s, codec, sample_rate, channels,
       title, artist, album, tagged_genre, first_seen_at, last_seen_at, missing_since
FROM track_0001
"""
COPY_GENRES = """
INSERT INTO genre (id, model_id, position, name, kind)
SELECT id, model_id, row_number() OVER (PARTITION BY model_id ORDER BY id), name, kind
FROM genre_0001
"""
COPY_RUN_LIBRARIES = """
INSERT INTO run_library (run_id, library_id, path)
SELECT run_id, library_id, ''
FROM run_library_0001
"""
NUMBER_JOBS = """
CREATE TEMPORARY TABLE job_number AS
SELECT id AS old_id, row_number() OVER (ORDER BY queued_at, id) AS id
FROM job_0001
"""
COPY_JOBS = """
INSERT INTO job (id, run_id, queue, status, tracks, audio_s, attempts, worker, lease_until, queued_at, started_at,
                 finished_at)
SELECT job_number.id, run_id, queue, status, tracks, audio_s, attempts, worker, lease_until, queued_at, started_at,
       finished_at
FROM job_0001
JOIN job_number ON job_number.old_id = job_0001.id
"""
# The newest prediction of a track is the one that was ordered last, of those that have scores.
NUMBER_PREDICTIONS = """
CREATE TEMPORARY TABLE prediction_number AS
SELECT row_number() OVER (ORDER BY prediction.track_id, prediction.model_id, prediction.coverage) AS id,
       prediction.track_id, prediction.model_id, prediction.coverage, source.track_id AS source_id, source.finished_at,
       CASE WHEN source.track_id IS NULL THEN 0 ELSE row_number() OVER (
           PARTITION BY prediction.track_id, source.track_id IS NULL
           ORDER BY prediction.run_id DESC, source.finished_at DESC
       ) END AS age
FROM prediction_0001 AS prediction
LEFT JOIN prediction_0001 AS source ON source.track_id = coalesce(prediction.duplicate_of, prediction.track_id)
    AND source.model_id = prediction.model_id AND source.coverage = prediction.coverage AND source.status = 'done'
    AND prediction.status IN ('done', 'duplicate')
"""
COPY_PREDICTIONS = """
INSERT INTO prediction (id, track_id, model_id, coverage, is_newest, run_id, job_id, status, audio_hash, duplicate_of,
                        attempts, error_code, error_detail, windows, device, amp, elapsed_ms, finished_at)
SELECT numbered.id, old.track_id, old.model_id, old.coverage, numbered.age = 1, old.run_id, job_number.id, old.status,
       {hash}, old.duplicate_of, old.attempts, old.error_code, old.error_detail, old.windows, old.device, old.amp,
       old.elapsed_ms, coalesce(old.finished_at, numbered.finished_at)
FROM prediction_number AS numbered
JOIN prediction_0001 AS old ON old.track_id = numbered.track_id AND old.model_id = numbered.model_id
    AND old.coverage = numbered.coverage
LEFT JOIN job_number ON job_number.old_id = old.job_id
WHERE numbered.id BETWEEN :first AND :last
"""
RANKED_SCORES = """
SELECT numbered.id AS prediction_id, genre.id AS genre_id, genre.position, genre.kind, score.probability,
       row_number() OVER (PARTITION BY numbered.id, genre.kind ORDER BY score.probability DESC, genre.id) AS rank
FROM prediction_number AS numbered
JOIN score_0001 AS score ON score.track_id = numbered.source_id AND score.model_id = numbered.model_id
    AND score.coverage = numbered.coverage
JOIN genre ON genre.id = score.genre_id
WHERE numbered.id BETWEEN :first AND :last
"""
COPY_SCORES = {
    "sqlite": (
        f"""
        INSERT INTO score_row (genre_id, prediction_id, millionths, rank)
        SELECT genre_id, prediction_id, CAST(round(probability * 1000000) AS INTEGER), rank
        FROM ({RANKED_SCORES})
        ORDER BY genre_id, prediction_id
        """,
        f"""
        UPDATE prediction SET first_genre_id = genre_id, first_probability = probability
        FROM ({RANKED_SCORES}) AS ranked
        WHERE ranked.prediction_id = prediction.id AND ranked.rank = 1 AND ranked.kind = 'genre'
        """,
    ),
    "postgresql": (
        f"""
        UPDATE prediction
        SET probabilities = scores.probabilities, ranks = scores.ranks, first_genre_id = scores.first_genre_id,
            first_probability = scores.first_probability
        FROM (
            SELECT prediction_id, array_agg(probability::real ORDER BY position) AS probabilities,
                   array_agg(rank::smallint ORDER BY position) AS ranks,
                   min(genre_id) FILTER (WHERE rank = 1 AND kind = 'genre') AS first_genre_id,
                   min(probability) FILTER (WHERE rank = 1 AND kind = 'genre') AS first_probability
            FROM ({RANKED_SCORES}) AS ranked
            GROUP BY prediction_id
        ) AS scores
        WHERE scores.prediction_id = prediction.id
        """,
    ),
}
HASHES = {  # The last 16 of the 32 hexadecimal digits, as a number with a sign.
    "sqlite": "hash_number(audio_hash)",
    "postgresql": "('x' || right(audio_hash, 16))::bit(64)::bigint",
}


def copy_rows() -> Iterator[str]:
    """Copy all rows. Yields how far it is, as text."""
    connection = op.get_bind()
    dialect = connection.dialect.name
    if dialect == "sqlite":
        driver: SqliteConnection = connection.connection.driver_connection  # type: ignore[assignment]  # is sqlite3's
        driver.create_function("hash_number", 1, hash_number, deterministic=True)
    yield "tracks"
    op.execute(COPY_TRACKS.format(hash=HASHES[dialect]))
    op.execute(COPY_GENRES)
    op.execute(COPY_RUN_LIBRARIES)
    yield "jobs"
    op.execute(NUMBER_JOBS)
    op.execute("CREATE UNIQUE INDEX ix_job_number ON job_number (old_id)")
    op.execute(COPY_JOBS)
    yield "predictions"
    op.execute(NUMBER_PREDICTIONS)
    op.execute("CREATE UNIQUE INDEX ix_prediction_number ON prediction_number (id)")
    yield from _copy_predictions(dialect)
    op.execute("DROP TABLE prediction_number")
    op.execute("DROP TABLE job_number")


def _copy_predictions(dialect: str) -> Iterator[str]:
    """Copy the predictions and their scores, chunk by chunk."""
    connection = op.get_bind()
    count = connection.exec_driver_sql("SELECT count(*) FROM prediction_number").scalar_one()
    statements = (COPY_PREDICTIONS.format(hash=HASHES[dialect]), *COPY_SCORES[dialect])
    for first in range(1, count + 1, CHUNK):
        last = min(first + CHUNK - 1, count)
        for statement in statements:
            connection.execute(sa.text(statement), {"first": first, "last": last})
        yield f"scores: {last:,} of {count:,} predictions"


def hash_number(digits: str | None) -> int | None:
    """The last 16 of some hexadecimal digits, as a number of 64 bits with a sign."""
    return None if digits is None else int.from_bytes(bytes.fromhex(digits[-16:]), signed=True)


def reset_sequences() -> None:
    """Let PostgreSQL go on counting after the ids that were copied."""
    if op.get_bind().dialect.name == "postgresql":
        for table in ("track", "genre", "job", "prediction"):
            op.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), greatest(max(id), 1), max(id) IS NOT NULL) "
                f"FROM {table}"
            )
