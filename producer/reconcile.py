"""What the queue lost, or a dead worker held, is queued again: the rows are the truth."""

import json
from collections.abc import Sequence

from db import jobs
from db.session import Database
from db.types import now
from producer.dispatch import send
from worker.celery import QUEUES, app

PAGE = 1000  # messages read at a time


def reconcile(database: Database, dead: Sequence[str] = ()) -> int:
    """Send the ids of all queued jobs that have no message. Returns how many. Sending one too many is harmless: the
    claim decides.

    `dead`: the node names of workers known to be dead; what they held is taken back at once, and since Redis still
    counts their messages as delivered, those count for nothing.
    """
    with database.write() as connection:
        jobs.take_back_lapsed(connection, now())
        for node in dead:
            jobs.release_leases(connection, node, now())
        queued = jobs.read_queued(connection)
    if not queued:
        return 0
    there = messages(with_delivered=not dead)
    lost = {job_id: queue for job_id, queue in queued.items() if job_id not in there}
    send(lost)
    return len(lost)


def messages(with_delivered: bool = True) -> set[str]:
    """The ids of the jobs whose message waits in Redis, or is delivered to a worker that has not acknowledged it."""
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        client = channel.client
        keys = [channel._q_for_pri(queue, priority) for queue in QUEUES for priority in channel.priority_steps]
        ids = set().union(*(_waiting(client, key) for key in keys))
        if with_delivered:
            ids.update(json.loads(held)[0]["headers"]["id"] for held in client.hvals(channel.unacked_key))
        return ids


def _waiting(client, key: str) -> set[str]:
    ids = set()
    for start in range(0, client.llen(key), PAGE):
        ids.update(json.loads(message)["headers"]["id"] for message in client.lrange(key, start, start + PAGE - 1))
    return ids
