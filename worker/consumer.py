"""Celery's side of a worker process: its thread pool, how many messages it holds, and its start."""

import time

from celery import bootsteps
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.signals import celeryd_init

from worker import tasks
from worker.celery import VISIBILITY_TIMEOUT_S, app
from worker.shutdown import drained, stopping

LONGEST_HELD_S = 3600  # a message held for longer is let go: its job hangs, and the claim in SQL decides


class TaskPool(ThreadPool):
    """Celery's thread pool, with an end of its own: jobs are asked to hand back, and SIGQUIT works."""

    def terminate_job(self, pid, signal=None) -> None:
        """Threads cannot be killed: the jobs are asked to end, which takes them well under a second."""
        stopping.set()

    def on_stop(self) -> None:
        stopping.set()
        super().on_stop()
        drained.send(sender=self)

    on_terminate = on_stop


class JobPrefetch(bootsteps.StartStopStep):
    """Renew the visibility timeout of the messages held, and hold as many jobs as the device can use."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer, **kwargs):
        super().__init__(consumer, **kwargs)
        self.timers = []
        self.since = {}  # delivery tag -> when it was first seen here

    def start(self, consumer) -> None:
        """Begin with the consumer."""
        self.timers = [
            consumer.timer.call_repeatedly(VISIBILITY_TIMEOUT_S / 3, self.renew_visibility, (consumer,)),
            consumer.timer.call_repeatedly(1.0, self.adjust_prefetch, (consumer,)),
        ]
        self.adjust_prefetch(consumer)

    def stop(self, consumer) -> None:
        """End with the consumer."""
        for timer in self.timers:
            timer.cancel()

    def renew_visibility(self, consumer) -> None:
        """Keep Redis from delivering to another worker what is being worked on here."""
        channel = consumer.task_consumer.channel
        moment = time.time()
        held = [tag for tag in tuple(channel.qos._delivered) if tag not in channel.qos._dirty]
        self.since = {tag: self.since.get(tag, moment) for tag in held}
        fresh = {tag: moment for tag, since in self.since.items() if moment - since < LONGEST_HELD_S}
        if fresh:
            with channel.conn_or_acquire() as client:
                client.zadd(channel.unacked_index_key, fresh, xx=True)

    def adjust_prefetch(self, consumer) -> None:
        """Follow the number of jobs wanted."""
        wanted = tasks.jobs_to_hold()
        if consumer.qos.value != wanted:
            consumer.initial_prefetch_count = consumer.qos.value = wanted


@celeryd_init.connect(weak=False)
def _prepare_worker(sender=None, **_kwargs) -> None:
    """Celery loads this module in a worker alone, as its pool: the producer and Flower load no task, and no torch."""
    tasks.start_runtime(sender)
    app.steps["consumer"].add(JobPrefetch)
