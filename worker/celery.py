"""The Celery app, its queues and its settings. It loads no torch: the producer and `celery -A worker` start fast."""

from celery import Celery
from celery.exceptions import OperationalError as CeleryOperationalError
from kombu.entity import Queue
from kombu.exceptions import OperationalError

import settings
from settings import GenremillError
from worker.monitoring import telemetry  # noqa: F401 (`celery -A worker inspect gpu` has to know the command)

FAST_QUEUE = "fast"  # For small jobs that somebody waits for.
BULK_QUEUE = "bulk"  # For all other jobs.
QUEUES = (FAST_QUEUE, BULK_QUEUE)  # In the order in which workers empty them.
TASK = "worker.tasks.classify"  # The name of the task in messages. It must not change while messages are queued.
VISIBILITY_TIMEOUT_S = 90  # Seconds that Redis waits for a held message to be renewed before it is delivered again.
RESTORE_INTERVAL_S = 5  # Seconds between two looks of a worker for messages that have to be delivered again.
REDIS_ANSWER_S = 10  # Seconds that Redis may take for an answer.
REDIS_CONNECT_S = 5  # Seconds that a connection to Redis may take.
JOB_THREADS = 16  # Threads of a worker that run jobs: more than worker.jobs.prefetch.MAX_JOBS_HELD.

app = Celery("genremill", fixups=[])  # Without fixups: the one for Django imports from the working directory.
app.conf.update(
    broker_url=settings.load().broker,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "unacked_restore_interval": RESTORE_INTERVAL_S,
        "unacked_restore_throttle": 1,  # Look each time that the interval is over. kombu's default: every tenth time.
        "socket_timeout": REDIS_ANSWER_S,
        "socket_connect_timeout": REDIS_CONNECT_S,
        "queue_order_strategy": "priority",  # The first queue is emptied before the second one is looked at.
    },
    worker_pool="worker.consumer:TaskPool",
    worker_concurrency=JOB_THREADS,
    worker_prefetch_multiplier=1,  # Where a worker begins; worker.consumer.JobPrefetch takes over at once.
    worker_send_task_events=True,  # Flower shows them.
    worker_hijack_root_logger=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,  # Jobs outlive a Redis that is started again.
    task_acks_late=True,  # A message is held until its job has ended, so that another worker gets it if this one dies.
    task_send_sent_event=True,
    task_track_started=True,
    task_ignore_result=True,  # Results are in SQL.
    task_serializer="json",
    accept_content=["json"],
    task_queues=[Queue(name) for name in QUEUES],  # type: ignore[no-untyped-call]  # kombu has no types
    task_default_queue=BULK_QUEUE,
    enable_utc=True,
)


def check_broker() -> None:
    """Raises GenremillError when the broker does not answer."""
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.2, timeout=REDIS_CONNECT_S)
    except (OperationalError, CeleryOperationalError, OSError, ValueError, KeyError) as error:
        raise unreachable(error) from error


def unreachable(error: Exception) -> GenremillError:
    """The error for a broker that does not answer, of which `error` is the cause: it names the broker's address."""
    address = app.connection_for_write().as_uri()
    return GenremillError(
        f"the broker {address} cannot be reached: {error}; start Redis or set GENREMILL_BROKER_URL "
        "(`genremill run` brings its own)"
    )
