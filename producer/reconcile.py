"""Jobs that lost their message or their worker are queued again. The rows in SQL say what has to be done.

Celery sends messages through kombu. So they are read from Redis in the form in which kombu stores them.
"""

import json
from collections.abc import Sequence

from redis import Redis

from db import jobs, lost_jobs
from db.session import Database
from db.types import now
from producer.dispatch import send
from worker.celery import QUEUES, app

PAGE_MESSAGES = 1000  # How many messages are read from Redis at a time.


def reconcile(database: Database, dead_workers: Sequence[str] = ()) -> int:
    """Send a message for each queued job that has none. Returns how many were sent.

    One message too many does no harm, since claiming the job decides who runs it.

    dead_workers: node names of workers that are known to be dead. Their jobs are taken back at once. Redis takes the
    messages that they held for delivered, so no delivered message counts then.
    """
    with database.write() as connection:
        lost_jobs.take_back_lapsed_jobs(connection, now())
        for worker in dead_workers:
            lost_jobs.take_back_worker_jobs(connection, worker, now())
        queues = jobs.read_queued_jobs(connection)
    if not queues:
        return 0
    with_message = read_job_ids(with_delivered=not dead_workers)
    without_message = {job_id: queue for job_id, queue in queues.items() if job_id not in with_message}
    send(without_message)
    return len(without_message)


def read_job_ids(with_delivered: bool = True, page_messages: int = PAGE_MESSAGES) -> set[str]:
    """The ids of the jobs that have a message waiting in Redis.

    with_delivered: also those whose message is delivered to a worker that has not acknowledged it yet.
    page_messages: how many messages are read at a time.
    """
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        redis = channel.client
        keys = [channel._q_for_pri(queue, priority) for queue in QUEUES for priority in channel.priority_steps]
        job_ids = {job_id for key in keys for job_id in _read_waiting(redis, key, page_messages)}
        if with_delivered:
            job_ids.update(_job_id(json.loads(delivered)[0]) for delivered in redis.hvals(channel.unacked_key))
    return job_ids


def _read_waiting(redis: Redis, key: str, page_messages: int) -> set[str]:
    """The ids of the jobs whose messages are in the list at this key."""
    job_ids: set[str] = set()
    for start in range(0, redis.llen(key), page_messages):
        page = redis.lrange(key, start, start + page_messages - 1)
        job_ids.update(_job_id(json.loads(message)) for message in page)
    return job_ids


def _job_id(message: dict[str, dict[str, str]]) -> str:
    return message["headers"]["id"]
