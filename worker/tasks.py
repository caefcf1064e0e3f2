"""The Celery task: takes the job that a message names, and analyses its tracks."""

import atexit
import logging
import sys
from collections.abc import Callable

from celery import Task
from celery.exceptions import Reject
from celery.worker import state

import settings
from db import jobs
from db.jobs import ClaimedJob
from db.revisions import require_newest
from db.types import now
from settings import GenremillError
from worker.celery import FAST_QUEUE, TASK, app
from worker.exit_codes import SETUP_EXIT_CODE
from worker.inference.executors import is_out_of_memory
from worker.jobs.job_run import JobRun, hand_back, load_model
from worker.jobs.loaded_models import LoadedModel
from worker.jobs.prefetch import INITIAL_JOBS_HELD
from worker.jobs.runtime import WorkerRuntime
from worker.shutdown import stopping

LOADING_RETRY_S = 5.0  # Seconds before a job is put back whose model's weights did not fit into the GPU's free memory.

log = logging.getLogger(__name__)

# What the jobs of this worker process share, from start_runtime() to close_runtime(). It is global because Celery calls
# the task with nothing but the arguments of the message, and there is one worker in a process.
_runtime: WorkerRuntime | None = None


def start_runtime(node: str) -> None:
    """Get ready to work under this node name. Called once, before the worker takes messages.

    Ends the process with SETUP_EXIT_CODE when it cannot work here.
    """
    global _runtime
    try:
        _runtime = WorkerRuntime.start(node, settings.load())
    except GenremillError as error:
        print(f"genremill: {error}", file=sys.stderr)
        raise SystemExit(SETUP_EXIT_CODE) from error


def close_runtime() -> None:
    """End what start_runtime() began. Called when the last job has ended; further calls do nothing."""
    global _runtime
    runtime, _runtime = _runtime, None
    if runtime is not None:
        runtime.close()


def jobs_to_hold() -> int:
    """How many jobs this worker process can use now."""
    return INITIAL_JOBS_HELD if _runtime is None else _runtime.jobs_to_hold()


@app.task(bind=True, name=TASK)  # type: ignore[untyped-decorator]  # Celery has no types
def classify(self: Task, job_id: int) -> str:
    """Put probabilities on the tracks of a job: see analyse_job(). Returns what Flower shows as the result."""
    runtime = _runtime
    if runtime is None or stopping.is_set():
        raise Reject("this worker is stopping", requeue=True)
    return analyse_job(
        runtime,
        job_id,
        is_fast=self.request.delivery_info.get("routing_key") == FAST_QUEUE,
        send_progress=lambda text: self.send_event("task-progress", result=text),
    )


def analyse_job(runtime: WorkerRuntime, job_id: int, *, is_fast: bool, send_progress: Callable[[str], object]) -> str:
    """Claim the job, load its model, analyse its tracks, and finish it. Returns in a few words what was done.

    is_fast, send_progress: see JobRun.
    Raises Reject, which puts the message back into the queue, when tracks of the job are left over: because the worker
    stops, lost the job, or cannot load its model. The database, not the message, says which tracks are left.
    """
    job = _claim(runtime, job_id)
    if job is None:
        return "held by another worker, or done"
    run = JobRun(job, runtime, _load_model(runtime, job), is_fast=is_fast, send_progress=send_progress)
    stored, total = run.run(), len(job.tracks)
    if stored < total:
        hand_back(runtime, job)
        raise Reject(f"{total - stored} of {total} tracks are left for the next worker", requeue=True)
    with runtime.database.write() as connection:
        jobs.finish_job(connection, job, now())
    run.report()
    return f"{stored}/{total} tracks, {run.progress.failed} failed"


def _claim(runtime: WorkerRuntime, job_id: int) -> ClaimedJob | None:
    """Take the job for this worker. None when another worker holds it, or when it is done.

    Messages that an older genremill has sent name their jobs by texts. Such jobs have got numbers, and a message that
    has the number is sent for each of them.
    Stops the worker and raises Reject when a newer genremill has migrated the database since this one began.
    """
    if not isinstance(job_id, int):
        return None
    try:
        with runtime.database.write() as connection:
            require_newest(connection)
            job = jobs.claim_job(connection, job_id, runtime.node, runtime.config.lease_s, now())
    except GenremillError as error:
        _stop_worker(error)
        raise Reject(str(error), requeue=True) from error
    if job is not None:
        runtime.job_tracks = max(1, len(job.tracks))
    return job


def _load_model(runtime: WorkerRuntime, job: ClaimedJob) -> LoadedModel:
    """The job's model. Hands the job back and raises Reject when this worker cannot load it."""
    try:
        return load_model(runtime, job)
    except GenremillError as error:
        hand_back(runtime, job)
        _stop_worker(error)
        raise Reject(str(error), requeue=True) from error
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        log.warning("the GPU has too little free memory for the weights of %s; trying again: %s", job.model, error)
        hand_back(runtime, job)
        stopping.wait(LOADING_RETRY_S)
        raise Reject("the GPU has too little free memory for the model's weights", requeue=True) from error


def _stop_worker(reason: GenremillError) -> None:
    """End this worker, which lacks what a job needs: otherwise it would take that job again and again.

    The reason is the last line of its output, which `genremill run` shows.
    """
    if not stopping.is_set():
        stopping.set()
        state.should_stop = SETUP_EXIT_CODE
        atexit.register(print, f"genremill: {reason}", file=sys.__stderr__)  # sys.stderr is Celery's log by now
