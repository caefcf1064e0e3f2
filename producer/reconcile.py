"""Jobs that lost their message or their worker are queued again. The rows in SQL say what has to be done."""

from collections.abc import Sequence

from db import lost_jobs
from db.session import Database
from db.types import now
from producer.messages import send_missing


def reconcile(database: Database, dead_workers: Sequence[str] = ()) -> int:
    """Send a message for queued jobs that have none, as far as the queues have room. Returns how many were sent.

    One message too many does no harm, since claiming the job decides who runs it. In a queue with many messages a job
    without one waits until there are fewer. It is the first to get one then.

    dead_workers: node names of workers that are known to be dead. Their jobs are taken back at once. Redis takes the
    messages that they held for delivered, so no delivered message counts then.
    Raises GenremillError when the broker does not answer.
    """
    with database.write() as connection:
        lost_jobs.take_back_lapsed_jobs(connection, now())
        for worker in dead_workers:
            lost_jobs.take_back_worker_jobs(connection, worker, now())
    return send_missing(database, with_delivered=not dead_workers)
