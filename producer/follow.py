"""Staying with a run until it is done. Meanwhile the queue is filled, and jobs that get lost are queued again."""

import time
from collections.abc import Callable, Iterator

from db import runs
from db.revisions import require_newest
from db.runs import Counts
from db.session import Database
from producer.dispatch import dispatch
from producer.messages import refill
from producer.order import Order
from producer.reconcile import reconcile
from settings import GenremillError

COUNT_INTERVAL_S = 0.5  # Seconds between two counts of the run's tracks, at least.
COUNT_PAUSE_RATIO = 20  # The pause after a count is at least so many times as long as the count took.
RECONCILE_INTERVAL_S = 5.0  # Seconds between two checks whether a job was lost, at least.
BROKER_PATIENCE_S = 30.0  # Seconds that the broker may be away. Whoever runs it may be about to start it again.


def follow(
    database: Database,
    run_id: int,
    order: Order,
    poll: Callable[[], None] = lambda: None,
    interval_s: float = COUNT_INTERVAL_S,
    reconcile_interval_s: float = RECONCILE_INTERVAL_S,
) -> Iterator[Counts]:
    """The run's counts, about every `interval_s` seconds. The last ones have no open track.

    poll: called after each count but the last one. reconcile_interval_s: the time between two checks for lost jobs.
    Raises GenremillError when the broker has not answered for BROKER_PATIENCE_S, or when a newer genremill has migrated
    the database meanwhile.
    """
    reconcile_at = time.monotonic() + reconcile_interval_s
    broker_answered_at = time.monotonic()
    while True:
        count_start = time.monotonic()
        with database.read() as connection:
            require_newest(connection)
            counts = runs.count_run(connection, run_id)
        count_s = time.monotonic() - count_start
        yield counts
        if not counts.open:
            return
        poll()
        try:
            if time.monotonic() >= reconcile_at:
                reconcile_at = time.monotonic() + reconcile_interval_s
                dispatch(database, run_id, order)  # Duplicates whose original failed are pending again.
                reconcile(database)
            else:
                refill(database)
            broker_answered_at = time.monotonic()
        except GenremillError:
            if time.monotonic() - broker_answered_at > BROKER_PATIENCE_S:
                raise
        time.sleep(max(interval_s, COUNT_PAUSE_RATIO * count_s))
