"""Plan, queue and store N generated tracks: python -m benchmarks.scale work --tracks N --database URL

The database has to be empty. Nothing is decoded and no network computes: probabilities are made up. No messages are
sent. What remains is what the database costs: a scan's rows, the plan, the jobs, and each job's claim and outcomes.

Printed are, for each step, tracks per second of CPU time of this process, the longest transaction, and the largest
memory of this process so far. The server of PostgreSQL has CPU time of its own, which is not counted.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from sqlalchemy import Connection

from benchmarks.scale.collection import make_blocks
from benchmarks.timing import own_cpu_s
from db import jobs, models, pending, runs, tracks
from db.outcomes import Outcome, record_outcomes
from db.parts import Part
from db.session import Database, connect
from db.tracks import TrackFacts
from db.types import now
from producer.dispatch import TRACKS_PER_TRANSACTION
from producer.partition import partition
from producer.plan import merge_duplicates, plan_tracks
from worker.models import registry

JOB_TRACKS = 64
LEASE_S = 60.0
WORKER = "benchmark"


class TimedDatabase(Database):
    """A database that knows how long its longest transaction took."""

    longest_s = 0.0

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """As Database.write. Waiting for other writers is not counted."""
        with super().write() as connection:
            began = time.perf_counter()
            yield connection
        self.longest_s = max(self.longest_s, time.perf_counter() - began)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("--tracks", type=int, required=True, metavar="N")
    parser.add_argument("--database", required=True, metavar="URL", help="of an empty database")


def main(options: argparse.Namespace) -> None:
    """Do and print each step."""
    connect(options.database).close()
    database = TimedDatabase(connect(options.database)._engine)
    labels = registry.import_model_module(registry.find_model("musicnn")).LABELS
    with database.write() as connection:
        library_id = tracks.put_library(connection, b"/music")
        model_id = models.put_model(connection, "musicnn", "1", "0" * 64)
        ids = models.put_genres(connection, model_id, labels, "{}")
    print(f"{'step':28} {'tracks/s':>9} {'longest ms':>11} {'MiB':>5}")

    def step(name: str, work: Callable[[], object]) -> None:
        database.longest_s, began = 0.0, own_cpu_s()
        work()
        rate = options.tracks / (own_cpu_s() - began)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(f"{name:28} {rate:9,.0f} {database.longest_s * 1000:11.0f} {memory:5}", flush=True)

    step("rows of a first scan", lambda: insert_tracks(database, library_id, options.tracks, len(labels)))
    with database.write() as connection:
        run_id = runs.open_run(connection, model_id, "regions", [Part(library_id)], now())
    step("plan", lambda: plan(database, run_id))
    step("jobs", lambda: make_jobs(database, run_id))
    step("claims and outcomes", lambda: work_off(database, tuple(ids[name] for name, _ in labels)))
    step("plan, all known", lambda: plan(database, run_id))
    database.close()


def insert_tracks(database: Database, library_id: int, count: int, labels: int) -> None:
    """Enter the tracks, in transactions as large as those of a scan."""
    for block in make_blocks(count, labels, seed=0):
        facts = [TrackFacts(track.path.encode(), 1, 1, track.audio_hash, track.duration_s) for track in block.tracks]
        for start in range(0, len(facts), 500):
            with database.write() as connection:
                tracks.insert_tracks(connection, library_id, facts[start : start + 500], now())


def plan(database: Database, run_id: int) -> None:
    """Plan the run. The files of copies cannot be compared here, so that each track is analysed."""
    merge_duplicates(database, run_id, plan_tracks(database, run_id))


def make_jobs(database: Database, run_id: int) -> None:
    """Put all that is pending into jobs, as the producer does."""
    while True:
        with database.write() as connection:
            found = pending.lock_pending_tracks(connection, run_id, TRACKS_PER_TRANSACTION)
            for batch in partition(found, "regions", JOB_TRACKS, 1):
                pending.insert_job(connection, run_id, batch.prediction_ids, batch.audio_s, "bulk", now())
        if not found:
            return


def work_off(database: Database, genre_ids: tuple[int, ...]) -> None:
    """Claim each job, store its outcomes, and finish it, as a worker does."""
    vectors = np.random.default_rng(0).dirichlet(np.full(len(genre_ids), 0.3), 256).tolist()
    while True:
        with database.read() as connection:
            job_ids = pending.read_queued_jobs(connection, "bulk", 1000)
        if not job_ids:
            return
        for job_id in job_ids:
            with database.write() as connection:
                job = jobs.claim_job(connection, job_id, WORKER, LEASE_S, now())
            assert job is not None
            with database.write() as connection:
                record_outcomes(connection, list(_make_outcomes(job, genre_ids, vectors)), now())
            with database.write() as connection:
                jobs.finish_job(connection, job, now())


def _make_outcomes(job: jobs.ClaimedJob, genre_ids: tuple[int, ...], vectors: list[list[float]]) -> Iterator[Outcome]:
    """An outcome with scores for each track of the job."""
    common = {"job_id": job.id, "model_id": job.model_id, "coverage": job.coverage, "device": "cpu", "amp": False}
    for track in job.tracks:
        scores = {"genre_ids": genre_ids, "probabilities": vectors[track.id % len(vectors)]}
        yield Outcome(track_id=track.id, windows=9, elapsed_ms=100.0, **common, **scores)
