"""From pending tracks to jobs on the queue: first the jobs into SQL, then their ids into Redis."""

from collections.abc import Mapping

from celery.exceptions import OperationalError as CeleryOperationalError
from kombu.exceptions import OperationalError

from db import jobs
from db.session import Database
from db.types import now
from producer.order import Order
from producer.partition import MIN_JOBS, partition
from worker.celery import BULK_QUEUE, FAST_QUEUE, TASK, app, unreachable

MAX_FAST_TRACKS = 100  # For an order of at most so many tracks somebody is waiting: it goes into the fast queue.
TRACKS_PER_TRANSACTION = 20_000  # How many tracks are put into jobs in one transaction, at most.


def choose_queue(order: Order, tracks: int) -> str:
    """The queue that the order asks for, or the one that suits this number of tracks."""
    return order.queue or (FAST_QUEUE if tracks <= MAX_FAST_TRACKS else BULK_QUEUE)


def dispatch(
    database: Database,
    run_id: int,
    order: Order,
    queue: str | None = None,
    min_jobs: int = MIN_JOBS,
    page_tracks: int = TRACKS_PER_TRANSACTION,
) -> int:
    """Put the run's pending tracks into jobs, and the ids of the jobs onto the queue. Returns the number of jobs.

    queue: where to put them; None chooses by the number of pending tracks. min_jobs: see partition. page_tracks: how
    many tracks are put into jobs in one transaction.
    Raises GenremillError when the broker does not take them. They are in the database then, for reconcile to send.
    """
    sent = 0
    while True:
        with database.write() as connection:
            pending = jobs.read_pending_tracks(connection, run_id, page_tracks)
            queue = queue or choose_queue(order, len(pending))
            batches = partition(pending, order.coverage, order.job_tracks, min_jobs)
            job_ids = [
                jobs.insert_job(connection, run_id, batch.track_ids, batch.audio_s, queue, now()) for batch in batches
            ]
        if job_ids:
            send(dict.fromkeys(job_ids, queue))
        sent += len(job_ids)
        if len(pending) < page_tracks:
            return sent


def send(queues: Mapping[str, str]) -> None:
    """Send a message for each of these jobs, which are given by id with the queue of each.

    Raises GenremillError when the broker does not take them.
    """
    try:
        with app.producer_pool.acquire(block=True) as producer:
            for job_id, queue in queues.items():
                app.send_task(TASK, (job_id,), task_id=job_id, queue=queue, producer=producer, argsrepr=f"job {job_id}")
    except (OperationalError, CeleryOperationalError, OSError) as error:
        raise unreachable(error) from error
