"""Celery's side of a worker process: its pool of job threads, how many messages it holds, its start and its end."""

import time

from celery import bootsteps
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.signals import celeryd_init
from celery.worker.consumer import Consumer
from kombu.asynchronous.timer import Entry

from worker import tasks
from worker.celery import VISIBILITY_TIMEOUT_S, app
from worker.shutdown import stopping

RENEWAL_INTERVAL_S = VISIBILITY_TIMEOUT_S / 3  # Seconds between two renewals, so that two in a row may fail.
ADJUST_INTERVAL_S = 1.0  # Seconds between two adjustments of the number of messages held.
# Seconds after which a held message is not renewed any more, because its job seems to hang. Redis then delivers it to
# another worker, and the job's lease in SQL decides whether that worker may take the job.
MAX_HELD_S = 3600


class TaskPool(ThreadPool):  # type: ignore[misc]  # Celery has no types
    """Celery's thread pool, whose jobs hand their tracks back when the worker stops, at SIGQUIT too."""

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Celery wants to kill a job. Threads cannot be killed, so all jobs are asked to end."""
        stopping.set()

    def on_stop(self) -> None:
        """Ask the jobs to end, wait until their threads have, then end what the jobs shared."""
        stopping.set()
        super().on_stop()
        tasks.close_runtime()

    on_terminate = on_stop


class JobPrefetch(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """A step of Celery's consumer that looks after the messages this worker holds.

    A message is held from its delivery until its job has ended. Redis delivers it to another worker when its visibility
    timeout is over, so that this step renews the timeout. It also sets the prefetch count, which is how many messages
    Celery holds at most, to the number of jobs that the device can use now.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Consumer, **kwargs: object) -> None:
        super().__init__(consumer, **kwargs)
        self._timers: list[Entry] = []
        self._held_since: dict[str, float] = {}  # delivery tag -> when it was first seen here, in time.time()

    def start(self, consumer: Consumer) -> None:
        """The consumer starts, or starts again after Redis was away."""
        self._timers = [
            consumer.timer.call_repeatedly(RENEWAL_INTERVAL_S, self.renew_visibility, (consumer,)),
            consumer.timer.call_repeatedly(ADJUST_INTERVAL_S, self.adjust_prefetch, (consumer,)),
        ]
        self.adjust_prefetch(consumer)

    def stop(self, consumer: Consumer) -> None:
        """The consumer stops."""
        for timer in self._timers:
            timer.cancel()  # type: ignore[no-untyped-call]  # kombu has no types

    def renew_visibility(self, consumer: Consumer) -> None:
        """Keep Redis from delivering to other workers the messages that are held here.

        kombu keeps the time of delivery of every message in a sorted set: the visibility timeout counts from there.
        `_delivered` has the messages that were delivered to this worker, and `_dirty` those of them that are finished.
        """
        channel = consumer.task_consumer.channel
        now_s = time.time()
        held = [tag for tag in tuple(channel.qos._delivered) if tag not in channel.qos._dirty]
        self._held_since = {tag: self._held_since.get(tag, now_s) for tag in held}
        renewed = {tag: now_s for tag, since_s in self._held_since.items() if now_s - since_s < MAX_HELD_S}
        if renewed:
            with channel.conn_or_acquire() as client:
                client.zadd(channel.unacked_index_key, renewed, xx=True)  # xx: not those that were finished meanwhile

    def adjust_prefetch(self, consumer: Consumer) -> None:
        """Set the prefetch count to the number of jobs that this worker can use now."""
        jobs = tasks.jobs_to_hold()
        if consumer.qos.value != jobs:
            consumer.initial_prefetch_count = consumer.qos.value = jobs


@celeryd_init.connect(weak=False)  # type: ignore[untyped-decorator]  # Celery has no types
def _prepare_worker(sender: str, **_kwargs: object) -> None:
    """A worker process starts; `sender` is its node name. The setting `worker_pool` makes Celery load this module in
    worker processes alone: the producer and Flower load neither the task nor torch."""
    tasks.start_runtime(sender)
    app.steps["consumer"].add(JobPrefetch)
