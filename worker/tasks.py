"""The task. The only place where Celery, SQL, decoding and the engine meet."""

import atexit
import logging
import sys

from celery.exceptions import Reject
from celery.worker import state

import settings
from db import jobs
from db.types import now
from settings import GenremillError
from worker.celery import app
from worker.exit_codes import SETUP_EXIT_CODE
from worker.inference.executors import is_out_of_memory
from worker.jobs.job_run import JobRun, hand_back, load_model
from worker.jobs.prefetch import FIRST_JOBS
from worker.jobs.runtime import WorkerRuntime
from worker.shutdown import drained, stopping

NO_ROOM_S = 5.0  # before a job is taken again whose model's weights did not fit the GPU

log = logging.getLogger(__name__)

_runtime: WorkerRuntime | None = None


def start_runtime(node: str) -> None:
    """Get ready to work under this node name: called once, before the worker consumes. Ends the process when it
    cannot."""
    global _runtime
    try:
        _runtime = WorkerRuntime.start(node, settings.load())
    except GenremillError as error:
        print(f"genremill: {error}", file=sys.stderr)
        raise SystemExit(SETUP_EXIT_CODE) from error


def jobs_to_hold() -> int:
    """How many jobs this worker process can use now."""
    return FIRST_JOBS if _runtime is None else _runtime.jobs_to_hold()


@drained.connect
def _close_runtime(**_kwargs) -> None:
    global _runtime
    runtime, _runtime = _runtime, None
    if runtime is not None:
        runtime.close()


@app.task(bind=True, name="worker.tasks.classify")
def classify(self, job_id: str) -> str:
    """Put probabilities on the tracks of a job."""
    runtime = _runtime
    if runtime is None or stopping.is_set():
        raise Reject("this worker is stopping", requeue=True)
    with runtime.database.write() as connection:
        job = jobs.claim_job(connection, job_id, runtime.node, runtime.config.lease_s, now())
    if job is None:
        return "held by another worker, or done"
    runtime.job_tracks = max(1, len(job.tracks))
    try:
        loaded = load_model(runtime, job)
    except GenremillError as error:
        hand_back(runtime, job)
        _refuse_to_work(error)
        raise Reject(str(error), requeue=True) from error
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        log.warning("there is no room for the model %s on the GPU, waiting for some: %s", job.model, error)
        hand_back(runtime, job)
        stopping.wait(NO_ROOM_S)
        raise Reject("there is no room for the model", requeue=True) from error
    run = JobRun(self, job, runtime, loaded)
    done = run.run()
    if done < len(job.tracks):
        hand_back(runtime, job)
        raise Reject("this worker is stopping", requeue=True)
    with runtime.database.write() as connection:
        jobs.finish_job(connection, job, now())
    run.report()
    return f"{done}/{len(job.tracks)} tracks, {run.progress.failed} failed"


def _refuse_to_work(error: GenremillError) -> None:
    """Stop this worker, which lacks what a job needs and would take it again and again; its last line says why."""
    if not stopping.is_set():
        stopping.set()
        state.should_stop = SETUP_EXIT_CODE
        atexit.register(print, f"genremill: {error}", file=sys.__stderr__)  # sys.stderr is Celery's log by now
