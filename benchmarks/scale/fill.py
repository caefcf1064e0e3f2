"""Fill an empty database with generated tracks: python -m benchmarks.scale fill --tracks N --database URL

The tracks are in four libraries. All of them were analysed in one run, in jobs of 64 tracks. Some are exact copies of
others, and some failed. With `--again full` a second run has analysed all of them once more with that coverage.

The rows go into the database as fast as it takes them: PostgreSQL gets them by COPY.
"""

import argparse
import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.random import default_rng
from sqlalchemy import Connection, text

from benchmarks.scale.collection import Block, make_blocks, make_probabilities, rank
from db.session import Database, connect
from settings import GenremillError
from worker.models.registry import find_model, import_model_module

LIBRARIES = 4
JOB_TRACKS = 64
JOB_S = 20  # Seconds that a job takes.
BEGAN = datetime(2026, 1, 31, 18)  # In UTC, when the first run began.
RUN_DAYS = 30  # So many days later the second one began.
TRACK_COLUMNS = (
    *("id", "library_id", "path", "size_bytes", "mtime_ns", "audio_hash", "duration_s", "codec", "sample_rate"),
    *("channels", "title", "artist", "album_artist", "album", "year", "tagged_genre", "first_seen_at", "last_seen_at"),
)
PREDICTION_COLUMNS = (
    *("id", "track_id", "model_id", "coverage", "is_newest", "run_id", "job_id", "status", "audio_hash"),
    *("duplicate_of", "attempts", "first_genre_id", "first_probability", "error_code", "error_detail", "windows"),
    *("device", "amp", "elapsed_ms", "finished_at"),
)
ARRAY_COLUMNS = ("probabilities", "ranks")
SCORE_COLUMNS = ("genre_id", "prediction_id", "millionths", "rank")
JOB_COLUMNS = (
    *("id", "run_id", "queue", "status", "tracks", "audio_s", "attempts", "worker", "queued_at", "started_at"),
    "finished_at",
)
WINDOWS = {"regions": 9, "full": 78}

Row = Sequence[object]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("--tracks", type=int, required=True, help="how many")
    parser.add_argument("--database", required=True, metavar="URL", help="sqlite:///FILE or postgresql://HOST/NAME")
    parser.add_argument("--model", default="musicnn", help="whose labels there are (default: musicnn)")
    parser.add_argument("--coverage", choices=WINDOWS, default="regions", help="of the first run (default: regions)")
    parser.add_argument("--again", choices=WINDOWS, help="of a second run, where there is to be one")
    parser.add_argument("--seed", type=int, default=1, help="another one makes other tracks (default: 1)")


def main(options: argparse.Namespace) -> None:
    """Fill the database. Raises GenremillError where it is not empty."""
    if options.again == options.coverage:
        raise GenremillError(f"--again {options.again} is what the first run had: choose the other coverage")
    database = connect(options.database)
    began = time.perf_counter()
    labels = import_model_module(find_model(options.model)).LABELS
    coverages = [options.coverage, *([options.again] if options.again else [])]
    with database.write() as connection:
        write_frame(connection, options.model, labels, coverages, options.tracks)
    kinds = [kind for _, kind in labels]
    names = [name for name, _ in labels]
    for run_id, coverage in enumerate(coverages, 1):
        writer = RunWriter(run_id, coverage, kinds, options.tracks, is_newest=run_id == len(coverages))
        for block in make_blocks(options.tracks, len(labels), options.seed):
            with database.write() as connection:
                if run_id == 1:
                    write_rows(connection, "track", TRACK_COLUMNS, track_rows(block, options.tracks, names))
                writer.write(connection, block, default_rng([options.seed, run_id, block.first]))
            print(f"\r{coverage}: {block.first + len(block.tracks):,} tracks", end="", flush=True)
        print()
    tidy(database)
    database.close()
    print(f"{options.tracks:,} tracks in {time.perf_counter() - began:.0f} s")


def write_frame(
    connection: Connection, model: str, labels: Sequence[tuple[str, str]], coverages: Sequence[str], tracks: int
) -> None:
    """Write what is there before the first track: libraries, the model and its labels, and the runs."""
    if connection.execute(text("SELECT count(*) FROM library")).scalar_one():
        raise GenremillError("the database is not empty: name one that is, such as a file that does not exist")
    write_rows(connection, "library", ("id", "root"), [(id, f"/music/{id}") for id in range(1, LIBRARIES + 1)])
    sha256 = hashlib.sha256(model.encode()).hexdigest()
    write_rows(connection, "model", ("id", "name", "version", "weights_sha256"), [(1, model, "1", sha256)])
    genres = [(id, 1, id, name, kind) for id, (name, kind) in enumerate(labels, 1)]
    write_rows(connection, "genre", ("id", "model_id", "position", "name", "kind"), genres)
    columns = ("id", "model_id", "coverage", "found", "skipped", "handed_over", "started_at", "finished_at")
    for run_id, coverage in enumerate(coverages, 1):
        finished_at = began_at(run_id) + timedelta(seconds=JOB_S) * (tracks // JOB_TRACKS + 1)
        run = (run_id, 1, coverage, tracks, 0, 0, moment(began_at(run_id)), moment(finished_at))
        write_rows(connection, "run", columns, [run])
        in_run = [(run_id, id, "") for id in range(1, LIBRARIES + 1)]
        write_rows(connection, "run_library", ("run_id", "library_id", "path"), in_run)


def track_rows(block: Block, tracks: int, names: Sequence[str]) -> Iterator[Row]:
    """The rows of the tracks. A few of their tagged genres are others than the network's."""
    seen_at = moment(BEGAN)
    for index, track in enumerate(block.tracks):
        number = block.first + index
        library = number * LIBRARIES // tracks + 1
        tagged = names[(track.genre + (number % 10 == 0)) % len(names)].title() if track.tagged_genre else None
        size = int(track.duration_s * 110_000)
        mtime_ns = 1_500_000_000_000_000_000 + number * 7_654_321_987
        file = (number + 1, library, track.path, size, mtime_ns, track.audio_hash, track.duration_s, "flac", 44_100, 2)
        tags = (track.title, track.artist, track.album_artist, track.album, track.year, tagged)
        yield (*file, *tags, seen_at, seen_at)


class RunWriter:
    """Writes the predictions of a run, its jobs and the scores."""

    def __init__(self, run_id: int, coverage: str, kinds: list[str], tracks: int, *, is_newest: bool) -> None:
        self.run_id = run_id
        self.coverage = coverage
        self.kinds = kinds
        self.is_newest = is_newest
        self.first_id = (run_id - 1) * tracks + 1  # Of its predictions.
        self.genres = np.flatnonzero([kind == "genre" for kind in kinds])
        self.jobs = 0  # Written until now, by all runs.

    def write(self, connection: Connection, block: Block, rng: np.random.Generator) -> None:
        """Write those of a block."""
        millionths = make_probabilities(block, len(self.kinds), rng)
        ranks = rank(millionths, self.kinds)
        if self.jobs == 0:
            self.jobs = connection.execute(text("SELECT coalesce(max(id), 0) FROM job")).scalar_one()
        write_rows(connection, "job", JOB_COLUMNS, self.job_rows(block))
        rows = self.prediction_rows(block, millionths)
        if connection.dialect.name == "postgresql":
            with_arrays = add_arrays(rows, block, millionths, ranks)
            write_rows(connection, "prediction", (*PREDICTION_COLUMNS, *ARRAY_COLUMNS), with_arrays)
        else:
            write_rows(connection, "prediction", PREDICTION_COLUMNS, rows)
            write_rows(connection, "score_row", SCORE_COLUMNS, self.score_rows(block, millionths, ranks))
        self.jobs += count_jobs(block)

    def job_rows(self, block: Block) -> Iterator[Row]:
        """The jobs of a block, whose last one may be small."""
        analysed = int((block.original < 0).sum())
        for number in range(count_jobs(block)):
            tracks = min(JOB_TRACKS, analysed - number * JOB_TRACKS)
            id = self.jobs + number + 1
            times = (moment(began_at(self.run_id)), self.job_moment(number, 0), self.job_moment(number, 1))
            yield (id, self.run_id, "bulk", "done", tracks, tracks * 235.0, 1, f"worker@host{id % 3}", *times)

    def job_moment(self, number: int, later: int) -> str:
        """When the job of this number in the block began, or when it had ended, `later` jobs after it."""
        return moment(began_at(self.run_id) + timedelta(seconds=JOB_S) * (self.jobs + number + later))

    def prediction_rows(self, block: Block, millionths: np.ndarray) -> Iterator[Row]:
        """The predictions of a block, without scores."""
        best = self.genres[millionths[:, self.genres].argmax(axis=1)]
        probabilities = (millionths[np.arange(len(best)), best] / 1e6).tolist()
        jobs = (self.jobs + 1 + (np.cumsum(block.original < 0) - 1) // JOB_TRACKS).tolist()
        for index, (track, genre) in enumerate(zip(block.tracks, best.tolist(), strict=True)):
            number = block.first + index
            source, failed = int(block.original[index]), bool(block.failed[index])
            job_id = jobs[index] if source < 0 else None
            status = "failed" if failed else "done" if source < 0 else "duplicate"
            key = (self.first_id + number, number + 1, 1, self.coverage, self.is_newest and not failed, self.run_id)
            outcome = (None, None) if failed else (genre + 1, probabilities[index])
            error = ("undecodable", f"{track.path} cannot be decoded: invalid data") if failed else (None, None)
            how = (WINDOWS[self.coverage], "cuda:0", True, 41.5 + index % 100) if source < 0 else (None,) * 4
            finished_at = self.job_moment(jobs[index] - self.jobs - 1, 1)
            yield (
                *(*key, job_id, status, track.audio_hash, None if source < 0 else block.first + source + 1),
                *(int(source < 0), *outcome, *error, *how, finished_at),
            )

    def score_rows(self, block: Block, millionths: np.ndarray, ranks: np.ndarray) -> Iterator[Row]:
        """The scores of a block, in the order of the primary key."""
        indexes = np.flatnonzero(~block.failed)
        ids = (self.first_id + block.first + indexes).tolist()
        for genre in range(len(self.kinds)):
            columns = ([genre + 1] * len(ids), ids, millionths[indexes, genre].tolist(), ranks[indexes, genre].tolist())
            yield from zip(*columns, strict=True)


def count_jobs(block: Block) -> int:
    """How many jobs the tracks of a block are in."""
    return -(-int((block.original < 0).sum()) // JOB_TRACKS)


def add_arrays(rows: Iterable[Row], block: Block, millionths: np.ndarray, ranks: np.ndarray) -> Iterator[Row]:
    """Rows of predictions with their scores behind them, as PostgreSQL has them."""
    arrays = zip(array_texts(millionths / 1e6), array_texts(ranks), strict=True)
    for row, scores, failed in zip(rows, arrays, block.failed, strict=True):
        yield (*row, *((None, None) if failed else scores))


def array_texts(numbers: np.ndarray) -> Iterator[str]:
    """Each row as text of an array in PostgreSQL."""
    return (f"{{{','.join(map(repr, row))}}}" for row in numbers.tolist())


def began_at(run_id: int) -> datetime:
    """When a run began, in UTC."""
    return BEGAN + timedelta(days=RUN_DAYS) * (run_id - 1)


def moment(value: datetime) -> str:
    """A moment as SQLite has it."""
    return value.isoformat(" ", "microseconds")


def write_rows(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Insert rows in their order. For PostgreSQL no text in them may hold a tab, a backslash or the end of a line."""
    driver = connection.connection.driver_connection
    assert driver is not None  # It is None only where a connection is detached from the pool.
    if connection.dialect.name == "sqlite":
        values = ", ".join("?" * len(columns))
        driver.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})", rows)
        return
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write("\t".join(["\\N" if value is None else str(value) for value in row]) + "\n")


def tidy(database: Database) -> None:
    """Let PostgreSQL count on after the ids that were written, and gather statistics, as it does by itself later."""
    with database.write() as connection:
        if connection.dialect.name == "sqlite":
            return
        for table in ("library", "model", "genre", "run", "job", "track", "prediction"):
            sequence = f"pg_get_serial_sequence('{table}', 'id')"
            connection.execute(text(f"SELECT setval({sequence}, max(id)) FROM {table}"))
    with database.read() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM (ANALYZE)"))
