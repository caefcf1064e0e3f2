"""A database in which a statement that forgets a condition changes too much: two of everything, and more."""

from dataclasses import dataclass

from db import jobs, pending
from db.session import Database
from db.types import now
from tests.integration.rows import claim, plan, put_tracks

REQUEUED_JOB = {"status": "queued", "worker": None, "lease_until": None}  # The changes of a job that is taken back,
QUEUED = {"status": "queued"}  # and those of its predictions.


@dataclass
class World:
    """The database of these tests: tracks 1 to 4 in one library, 5 and 6 in another one."""

    database: Database
    run: int  # Of tracks 1 to 4.
    job: int  # Of tracks 1 and 2.
    next_job: int  # Of tracks 3 and 4.
    full_job: int  # Of tracks 1 and 2 with the same model, under the other coverage.
    other_model_job: int  # Of tracks 1 and 2 with another model.
    other_library_job: int  # Of tracks 5 and 6.

    @property
    def other_jobs(self) -> tuple[int, ...]:
        """All jobs but `job`."""
        return self.next_job, self.full_job, self.other_model_job, self.other_library_job

    def claim_all(self, worker: str = "a", other_worker: str = "b", lease_s: float = 60) -> jobs.ClaimedJob:
        """Let one worker claim `job`, and another one all other jobs. Returns the first one."""
        for job_id in self.other_jobs:
            assert claim(self.database, job_id, other_worker)
        return claim(self.database, self.job, worker, lease_s)


def make_world(database: Database) -> World:
    """Two libraries, two models, two coverages, four runs and their jobs."""
    one, two = put_tracks(database, [1, 2, 3, 4], b"/one"), put_tracks(database, [5, 6], b"/two")
    run, full = plan(database, one), plan(database, one, coverage="full")
    other_model, other_library = plan(database, one, model="other"), plan(database, two)
    contents = ((run, [1, 2]), (run, [3, 4]), (full, [1, 2]), (other_model, [1, 2]), (other_library, [5, 6]))
    with database.write() as connection:
        ids = {
            (run_id, track_id): id
            for id, run_id, track_id in connection.exec_driver_sql("SELECT id, run_id, track_id FROM prediction")
        }
        job_ids = [
            pending.insert_job(
                connection, run_id, [ids[run_id, track_id] for track_id in track_ids], 1e2, "bulk", now()
            )
            for run_id, track_ids in contents
        ]
    return World(database, run, *job_ids)


def of_predictions(values, *track_ids, model_id=1, coverage="regions"):
    """The changes of these tracks' predictions."""
    return {("prediction", track_id, model_id, coverage): values for track_id in track_ids}
