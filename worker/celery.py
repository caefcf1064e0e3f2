"""The Celery app. Imports settings only, so that the producer and `celery -A worker` load no torch."""

from celery import Celery
from celery.exceptions import OperationalError as CeleryOperationalError
from kombu import Queue
from kombu.exceptions import OperationalError

import settings
from settings import GenremillError
from worker.monitoring import telemetry  # noqa: F401 (`celery -A worker inspect gpu` has to know the command)

QUEUES = ("fast", "bulk")  # in the order in which workers empty them
VISIBILITY_TIMEOUT_S = 90  # a message that is held and not renewed for so long is delivered again
TASK = "worker.tasks.classify"
MOST_JOBS = 16  # job threads of a worker; how many it holds is the keeper's decision

app = Celery("genremill", fixups=[])  # the one for Django imports from the working directory
app.conf.update(
    broker_url=settings.load().broker,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "queue_order_strategy": "priority",
    },
    worker_pool="worker.consumer:TaskPool",
    worker_concurrency=MOST_JOBS,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    worker_hijack_root_logger=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    task_acks_late=True,
    task_send_sent_event=True,
    task_track_started=True,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    task_queues=[Queue(name) for name in QUEUES],
    task_default_queue="bulk",
    enable_utc=True,
)


def check_broker() -> None:
    """Raises GenremillError when the broker does not answer."""
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.2, timeout=5)
    except (OperationalError, CeleryOperationalError, OSError, ValueError, KeyError) as error:
        raise unreachable(error) from error


def unreachable(error: Exception) -> GenremillError:
    address = app.connection_for_write().as_uri()
    return GenremillError(
        f"the broker {address} cannot be reached: {error}; start Redis or set GENREMILL_BROKER_URL "
        "(`genremill run` brings its own)"
    )
