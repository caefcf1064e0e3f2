"""Rows to begin with: a library, tracks, a planned run, jobs."""

from collections.abc import Sequence
from zlib import crc32

from db import duplicates, jobs, models, pages, pending, runs, tracks
from db.duplicates import DuplicateCandidate
from db.jobs import ClaimedJob
from db.outcomes import Outcome, record_outcomes
from db.parts import Part
from db.session import Database
from db.tracks import TrackFacts
from db.types import now
from producer.plan import plan_tracks

GENRES = (("rock", "genre"), ("jazz", "genre"), ("happy", "mood"))


def put_tracks(database: Database, hashes: Sequence[int | str | None], root: bytes = b"/music") -> int:
    """A library with a track for each of these hashes. Returns its id."""
    facts = [
        TrackFacts(b"%03d.mp3" % index, 1, 1, hash_number(hash_), duration_s=240.0)
        for index, hash_ in enumerate(hashes)
    ]
    with database.write() as connection:
        library_id = tracks.put_library(connection, root)
        tracks.insert_tracks(connection, library_id, facts, now())
    return library_id


def hash_number(name: int | str | None) -> int | None:
    """An audio hash: the number itself, or one for a name, such as "a"."""
    if not isinstance(name, str):
        return name
    return crc32(name.encode()) if len(name) > 1 else ord(name)


def plan(
    database: Database,
    *library_ids: int,
    coverage: str = "regions",
    weights: str = "w",
    retry: bool = False,
    model: str = "model",
) -> int:
    """A planned run. Returns its id."""
    with database.write() as connection:
        model_id = models.put_model(connection, model, "1", weights)
        run_id = runs.open_run(connection, model_id, coverage, [Part(id) for id in library_ids], now())
    plan_tracks(database, run_id, retry)
    return run_id


def find_duplicates(database: Database, run_id: int) -> list[DuplicateCandidate]:
    """The candidates for copies among the pending tracks of a run, as it is planned by now."""
    found = []
    with database.read() as connection:
        analysis = pages.read_analysis(connection, run_id)
        for part in pages.read_parts(connection, run_id):
            page, _ = pages.count_next_page(connection, analysis, part, "", 1000)
            found += duplicates.find_duplicate_candidates(connection, analysis, page)
    return found


def mark_duplicates(database: Database, run_id: int, candidates: Sequence[DuplicateCandidate]) -> None:
    """Let their leaders stand for these tracks, whose files are not compared."""
    with database.write() as connection:
        analysis = pages.read_analysis(connection, run_id)
        duplicates.mark_duplicates(connection, analysis, candidates, now())


def put_job(database: Database, run_id: int) -> int:
    """A job of all that is pending. Returns its id."""
    with database.write() as connection:
        ids = [track.prediction_id for track in pending.lock_pending_tracks(connection, run_id, 1000)]
        return pending.insert_job(connection, run_id, ids, 100.0, "bulk", now())


def claim(database: Database, job_id: int, worker: str = "a", lease_s: float = 60) -> ClaimedJob | None:
    """The job, for this worker."""
    with database.write() as connection:
        return jobs.claim_job(connection, job_id, worker, lease_s, now())


def outcomes(
    database: Database, job: ClaimedJob, probability: float = 0.5, error: str | None = None, genres=GENRES
) -> list[Outcome]:
    """An outcome for each track of the job: the same for all."""
    with database.write() as connection:
        ids = models.put_genres(connection, job.model_id, genres, "{}")
    scores = (
        {}
        if error
        else {"genre_ids": tuple(ids[name] for name, _ in genres), "probabilities": (probability, 0.25, 0.125)}
    )
    failure = {"error_code": error, "error_detail": f"it is {error}"} if error else {}
    common = {"job_id": job.id, "model_id": job.model_id, "coverage": job.coverage, "device": "cpu", "amp": False}
    return [
        Outcome(track_id=track.id, windows=9, elapsed_ms=1.0, **common, **scores, **failure) for track in job.tracks
    ]


def record(database: Database, entries: Sequence[Outcome]) -> int:
    """Write them. Returns how many were accepted."""
    with database.write() as connection:
        return record_outcomes(connection, entries, now())


def finish(database: Database, job: ClaimedJob) -> None:
    """Close the job."""
    with database.write() as connection:
        jobs.finish_job(connection, job, now())


def analyse(database: Database, run_id: int, error: str | None = None) -> None:
    """Do all that is pending in the run."""
    job = claim(database, put_job(database, run_id))
    record(database, outcomes(database, job, error=error))
    finish(database, job)


def counts(database: Database, run_id: int) -> dict[str, int]:
    """The run's counts that are not zero; they must balance."""
    with database.read() as connection:
        found = runs.count_run(connection, run_id)
    assert found.balanced, found
    return {name: value for name, value in vars(found).items() if value}


def rows(database: Database, sql: str) -> list[tuple]:
    """What the database says."""
    with database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]
