"""What the queue lost, or a dead worker held, is queued again: the rows are the truth."""

import json

from db import jobs
from db.session import Database
from db.tables import now
from producer.dispatch import send
from worker.celery import QUEUES, app

PAGE = 1000  # messages read at a time


def reconcile(database: Database) -> int:
    """Send the ids of all queued jobs that have no message. Returns how many. Sending one too many is harmless: the
    claim decides."""
    with database.write() as connection:
        jobs.take_back_lapsed(connection, now())
        queued = jobs.read_queued(connection)
    if not queued:
        return 0
    there = messages()
    lost = {job_id: queue for job_id, queue in queued.items() if job_id not in there}
    send(lost)
    return len(lost)


def messages() -> set[str]:
    """The ids of the jobs whose message is in Redis, waiting or held by a worker."""
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        client = channel.client
        ids = set()
        for queue in QUEUES:
            for key in (channel._q_for_pri(queue, priority) for priority in channel.priority_steps):
                ids.update(_waiting(client, key))
        for held in client.hvals(channel.unacked_key):
            ids.add(json.loads(held)[0]["headers"]["id"])
        return ids


def _waiting(client, key: str) -> set[str]:
    ids = set()
    for start in range(0, client.llen(key), PAGE):
        ids.update(json.loads(message)["headers"]["id"] for message in client.lrange(key, start, start + PAGE - 1))
    return ids
