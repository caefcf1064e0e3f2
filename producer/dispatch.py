"""From libraries to queued jobs: scan, plan, jobs into SQL, then their ids onto the queue."""

import logging

from celery.exceptions import OperationalError as CeleryOperationalError
from kombu.exceptions import OperationalError

from db import jobs
from db.session import Database
from db.types import now
from producer.order import Order
from producer.partition import FEWEST_JOBS, partition
from worker.celery import TASK, app, unreachable

FAST_TRACKS = 100  # an order of at most so many tracks is somebody waiting: it goes before the bulk
PENDING_AT_ONCE = 20_000  # tracks made into jobs in one transaction

log = logging.getLogger(__name__)


def dispatch(database: Database, run_id: int, order: Order, fewest_jobs: int = FEWEST_JOBS) -> int:
    """Put the run's pending tracks into jobs and their ids onto the queue. Returns how many jobs."""
    sent = 0
    while True:
        with database.write() as connection:
            pending = jobs.read_pending(connection, run_id, PENDING_AT_ONCE)
            name = order.queue or ("fast" if len(pending) <= FAST_TRACKS else "bulk")
            queued = {
                jobs.insert_job(connection, run_id, batch.track_ids, batch.audio_s, name, now()): name
                for batch in partition(pending, order.coverage, order.most_tracks, fewest_jobs)
            }
        if queued:
            send(queued)
            sent += len(queued)
        if len(pending) < PENDING_AT_ONCE:
            return sent


def send(queued: dict[str, str]) -> None:
    """Put job ids onto their queues. Raises GenremillError when the broker does not take them."""
    try:
        with app.producer_pool.acquire(block=True) as producer:
            for job_id, queue in queued.items():
                app.send_task(TASK, (job_id,), task_id=job_id, queue=queue, producer=producer, argsrepr=f"job {job_id}")
    except (OperationalError, CeleryOperationalError, OSError) as error:
        raise unreachable(error) from error
