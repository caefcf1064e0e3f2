"""Staying with a run until it is done: what gets lost on the way is queued again."""

import time
from collections.abc import Callable, Iterator

from db import runs
from db.runs import Counts
from db.session import Database
from producer.dispatch import dispatch
from producer.order import Order
from producer.reconcile import reconcile

LOOK_S = 0.5
RECONCILE_S = 5.0
COUNTING_SHARE = 20  # counting a large run takes at most a twentieth of the time


def follow(
    database: Database, run_id: int, order: Order, poll: Callable[[], None] = lambda: None, look_s: float = LOOK_S
) -> Iterator[Counts]:
    """The run's counts about every `look_s` seconds, the last ones when nothing is open; `poll` is called between."""
    reconcile_at = time.monotonic() + RECONCILE_S
    while True:
        began = time.monotonic()
        with database.read() as connection:
            counts = runs.count_run(connection, run_id)
        counting_s = time.monotonic() - began
        yield counts
        if not counts.open:
            return
        poll()
        if time.monotonic() >= reconcile_at:
            reconcile_at = time.monotonic() + RECONCILE_S
            dispatch(database, run_id, order)  # duplicates whose original failed
            reconcile(database)
        time.sleep(max(look_s, COUNTING_SHARE * counting_s))
