"""Messages on the queues in Redis: each tells a worker to look at a job. The rows in SQL say which jobs there are.

While somebody stays with a run, each queue holds messages for a part of the jobs only: more are sent when there are
fewer than GENREMILL_QUEUE_LOW, until there are GENREMILL_QUEUE_HIGH. So Redis does not have to hold a large collection,
and finding out which jobs have a message does not take longer for it.

Celery sends messages through kombu. So they are read from Redis in the form in which kombu stores them.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from celery.exceptions import OperationalError as CeleryOperationalError
from kombu.exceptions import OperationalError
from kombu.transport.redis import Channel
from redis.exceptions import RedisError

import settings
from db import pending
from db.session import Database
from worker.celery import QUEUES, REDIS_CONNECT_S, TASK, app, unreachable

PAGE_MESSAGES = 1000  # How many messages are read from Redis at a time.


def send(queues: Mapping[int, str]) -> None:
    """Send a message for each of these jobs, which are given by id with the queue of each.

    Raises GenremillError when the broker does not take them.
    """
    try:
        with app.producer_pool.acquire(block=True) as producer:
            for job_id, queue in queues.items():
                name = f"job {job_id}"
                app.send_task(TASK, (job_id,), task_id=str(job_id), queue=queue, producer=producer, argsrepr=name)
    except (OperationalError, CeleryOperationalError, OSError) as error:
        raise unreachable(error) from error


def refill(database: Database) -> int:
    """Send messages if a queue has few, and if there are more queued jobs than messages. Returns how many were sent.

    It costs little while there is nothing to send. Raises GenremillError when the broker does not answer.
    """
    return _send_missing(database, only_if_more_jobs=True)


def send_missing(database: Database, with_delivered: bool = True) -> int:
    """Send a message for queued jobs that have none, in each queue that has few. Returns how many were sent.

    with_delivered: whether a message counts that is delivered to a worker, which has not acknowledged it yet.
    Raises GenremillError when the broker does not answer.
    """
    return _send_missing(database, with_delivered=with_delivered)


def _send_missing(database: Database, *, only_if_more_jobs: bool = False, with_delivered: bool = True) -> int:
    config = settings.load()
    waiting = {queue: count for queue, count in count_waiting().items() if count < config.queue_low}
    with database.read() as connection:
        jobs = {queue: pending.read_queued_jobs(connection, queue, config.queue_high) for queue in waiting}
    if not any(len(jobs[queue]) > (count if only_if_more_jobs else 0) for queue, count in waiting.items()):
        return 0
    with_message = read_job_ids(with_delivered)
    missing: dict[int, str] = {}
    for queue, count in waiting.items():
        without_message = [job_id for job_id in jobs[queue] if job_id not in with_message]
        missing |= dict.fromkeys(without_message[: config.queue_high - count], queue)
    send(missing)
    return len(missing)


def count_waiting() -> dict[str, int]:
    """How many messages wait in each queue. Raises GenremillError when the broker does not answer."""
    with _open_channel() as channel:
        return {queue: sum(map(channel.client.llen, _keys(channel, queue))) for queue in QUEUES}


def read_job_ids(with_delivered: bool = True, page_messages: int = PAGE_MESSAGES) -> set[int]:
    """The ids of the jobs that have a message waiting in Redis.

    with_delivered: also those whose message is delivered to a worker that has not acknowledged it yet.
    page_messages: how many messages are read at a time.
    Raises GenremillError when the broker does not answer.
    """
    with _open_channel() as channel:
        keys = [key for queue in QUEUES for key in _keys(channel, queue)]
        messages = [message for key in keys for message in _read_waiting(channel, key, page_messages)]
        if with_delivered:
            delivered = channel.client.hvals(channel.unacked_key)
            messages += [_task_id(json.loads(entry)[0]) for entry in delivered]
    return {int(task_id) for task_id in messages if task_id.isdecimal()}  # Others are of an earlier genremill.


def _read_waiting(channel: Channel, key: str, page_messages: int) -> Iterator[str]:
    """The task ids of the messages in the list at this key."""
    for start in range(0, channel.client.llen(key), page_messages):
        page = channel.client.lrange(key, start, start + page_messages - 1)
        yield from (_task_id(json.loads(message)) for message in page)


def _task_id(message: dict[str, dict[str, str]]) -> str:
    return message["headers"]["id"]


def _keys(channel: Channel, queue: str) -> list[str]:
    """The lists in Redis that hold the messages of the queue, one for each priority."""
    return [channel._q_for_pri(queue, step) for step in channel.priority_steps]  # type: ignore[no-untyped-call]


@contextmanager
def _open_channel() -> Iterator[Channel]:
    """A way to the broker. Raises GenremillError when it does not answer, also in what is done with it."""
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.2, timeout=REDIS_CONNECT_S)
            yield connection.default_channel
    except (OperationalError, CeleryOperationalError, RedisError, OSError) as error:
        raise unreachable(error) from error
