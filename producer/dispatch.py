"""From pending tracks to jobs on the queue: first the jobs into SQL, then their ids into Redis."""

from db import pending
from db.session import Database
from db.types import now
from producer.messages import send, send_missing
from producer.order import Order
from producer.partition import MIN_JOBS, partition
from worker.celery import BULK_QUEUE, FAST_QUEUE

MAX_FAST_TRACKS = 100  # For an order of at most so many tracks somebody is waiting: it goes into the fast queue.
TRACKS_PER_TRANSACTION = 2_000  # How many tracks are put into jobs in one transaction, at most.


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
    *,
    followed: bool = True,
) -> int:
    """Put the run's pending tracks into jobs, and the ids of the jobs onto the queue. Returns the number of jobs.

    queue: where to put them; None chooses by the number of pending tracks. min_jobs: see partition. page_tracks: how
    many tracks are put into jobs in one transaction. followed: whether somebody stays with the run and sends messages
    as the queue gets empty, so that only some of the jobs need one now.
    Raises GenremillError when the broker does not take them. They are in the database then, for reconcile to send.
    """
    made = 0
    while True:
        with database.write() as connection:
            tracks = pending.lock_pending_tracks(connection, run_id, page_tracks)
            queue = queue or choose_queue(order, len(tracks))
            is_last = len(tracks) < page_tracks
            batches = partition(tracks, order.coverage, order.job_tracks, min_jobs if is_last else 1)
            job_ids = [
                pending.insert_job(connection, run_id, batch.prediction_ids, batch.audio_s, queue, now())
                for batch in batches
            ]
        made += len(job_ids)
        if job_ids and followed:
            send_missing(database)
        elif job_ids:
            send(dict.fromkeys(job_ids, queue))
        if is_last:
            return made
