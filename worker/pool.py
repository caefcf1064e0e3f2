"""The thread pool of a worker, and the bootstep that holds as many jobs as the device can use."""

import threading
import time
from collections.abc import Callable

from celery import bootsteps
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.signals import worker_shutting_down
from celery.utils.dispatch import Signal

from worker.celery import VISIBILITY_TIMEOUT_S

FIRST_JOBS = 2  # held: while the last tracks of one are in the engine, the next one's are being decoded
LONGEST_HELD_S = 3600  # a message held for longer is let go: its job hangs, and the claim in SQL decides

stopping = threading.Event()  # set when this worker is to stop: jobs hand back what they have not begun
drained = Signal(name="drained", providing_args=set())  # sent when the last job thread has ended


@worker_shutting_down.connect(weak=False)
def _stop_jobs(**_kwargs) -> None:
    stopping.set()


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


class Keeper(bootsteps.StartStopStep):
    """Renew the visibility timeout of the messages held, and hold as many jobs as the device can use."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    wanted: Callable[[], int] = staticmethod(lambda: FIRST_JOBS)  # jobs to hold; whoever knows the device sets it

    def __init__(self, consumer, **kwargs):
        super().__init__(consumer, **kwargs)
        self.timers = []
        self.since = {}  # delivery tag -> when it was first seen here

    def start(self, consumer) -> None:
        """Begin with the consumer."""
        self.timers = [
            consumer.timer.call_repeatedly(VISIBILITY_TIMEOUT_S / 3, self.renew, (consumer,)),
            consumer.timer.call_repeatedly(1.0, self.tune, (consumer,)),
        ]
        self.tune(consumer)

    def stop(self, consumer) -> None:
        """End with the consumer."""
        for timer in self.timers:
            timer.cancel()

    def renew(self, consumer) -> None:
        """Keep Redis from delivering to another worker what is being worked on here."""
        channel = consumer.task_consumer.channel
        moment = time.time()
        held = [tag for tag in tuple(channel.qos._delivered) if tag not in channel.qos._dirty]
        self.since = {tag: self.since.get(tag, moment) for tag in held}
        fresh = {tag: moment for tag, since in self.since.items() if moment - since < LONGEST_HELD_S}
        if fresh:
            with channel.conn_or_acquire() as client:
                client.zadd(channel.unacked_index_key, fresh, xx=True)

    def tune(self, consumer) -> None:
        """Follow the number of jobs wanted."""
        wanted = self.wanted()
        if consumer.qos.value != wanted:
            consumer.initial_prefetch_count = consumer.qos.value = wanted
