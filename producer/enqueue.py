"""From folders of music to jobs on the queue: scan, plan, dispatch. A first scan queues jobs while it goes on."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from db import tracks
from db.parts import Part
from db.session import Database
from db.types import now
from producer.dispatch import choose_queue, dispatch
from producer.libraries import enter_folder, leave_out
from producer.messages import refill
from producer.order import Order
from producer.plan import plan
from producer.scan import FIRST_BATCH, Scan, scan_library
from settings import GenremillError

HEAD_START_FILES = FIRST_BATCH  # After so many files a first scan queues jobs for the first time.
REFILL_INTERVAL_S = 1.0  # Seconds between two looks whether the queue needs more messages while the scan goes on.
HEAD_START_MIN_JOBS = 2  # How many jobs are made at least each time that a first scan queues some.

log = logging.getLogger(__name__)


def enqueue(
    database: Database,
    order: Order,
    on_progress: Callable[[Scan], None] = lambda scan: None,
    *,
    followed: bool = False,
) -> int:
    """Scan the folders of the order and queue what has to be analysed. Returns the id of the run.

    If the same folders have an unfinished run with the same model and coverage, it is continued. Otherwise a new run is
    made. on_progress is called after each transaction of a scan.

    A caller that stays with the run (`followed`) sends more messages as the queue gets empty. For any other one, all
    jobs get a message at once. Jobs that the broker does not take are in the database, and sent by the next reconcile.
    A caller that does not stay gets a GenremillError in that case.

    Raises OSError when one of the roots is not there, and GenremillError when a folder that is gone is no library.
    """
    roots = [os.fsencode(root.resolve(strict=True)) for root in order.roots]
    for folder in order.gone:
        leave_out(database, folder)
    parts = [enter_folder(database, root) for root in roots]
    with database.read() as connection:
        knows_nothing = not tracks.has_tracks(connection, [part.library_id for part in parts])
        is_first_scan = knows_nothing and not tracks.has_missing_tracks(connection)
    head_start = HeadStart(database, order, parts, followed=followed)

    def on_scan_progress(scan: Scan) -> None:
        on_progress(scan)
        if is_first_scan:
            head_start.update(scan)

    started_at = now()
    for root in order.roots:
        scan_library(database, root, order.exclude, on_scan_progress)
    if len(parts) > 1:
        _join_moved_tracks(database, parts, started_at)
    run_id = plan(database, order, parts, head_start.run_id)
    try:
        head_start.dispatch_rest(run_id)
    except GenremillError as error:
        if not followed:
            raise
        log.warning("some jobs are sent later: %s", error)
    return run_id


def _join_moved_tracks(database: Database, parts: Sequence[Part], started_at: datetime) -> None:
    """Find files that were moved from a folder of the order to one that was scanned before it."""
    for library_id in sorted({part.library_id for part in parts}):
        with database.write() as connection:
            tracks.join_moved_tracks(connection, library_id, started_at)


class HeadStart:
    """Plans and queues what a first scan has found while the scan goes on, so that workers can begin.

    It does so after HEAD_START_FILES files, and then each time that the number of files has doubled. A later scan has
    to end first, and so has one while files of any library are missing. Until then, a file that looks new may be one
    that was moved and is analysed already.
    """

    def __init__(self, database: Database, order: Order, parts: Sequence[Part], *, followed: bool) -> None:
        self.run_id: int | None = None  # The run that tracks were queued for. None before the first time.
        self._database = database
        self._order = order
        self._parts = parts
        self._followed = followed
        self._files_by_part: dict[Part, int] = {}
        self._next_files = HEAD_START_FILES  # The number of files after which tracks are queued again.
        self._refill_at = 0.0  # When the queue is looked at next, by the monotonic clock.
        self._broker_error: GenremillError | None = None

    def update(self, scan: Scan) -> None:
        """Queue what was found if there is enough of it. A broker that does not take it does not end the scan."""
        self._files_by_part[scan.part] = scan.seen
        try:
            if self._files >= self._next_files:
                self._next_files = 2 * self._files
                self.run_id = plan(self._database, self._order, self._parts, self.run_id)
                self._dispatch(self.run_id)
            elif self._followed and self.run_id is not None and time.monotonic() >= self._refill_at:
                refill(self._database)
                self._refill_at = time.monotonic() + REFILL_INTERVAL_S
        except GenremillError as error:
            self._broker_error = error

    def dispatch_rest(self, run_id: int) -> None:
        """Queue what is pending after the scan. Raises GenremillError when the broker did not take all of the run."""
        if self.run_id is None:
            dispatch(self._database, run_id, self._order, followed=self._followed)
        else:
            self._dispatch(run_id)
        if self._broker_error is not None:
            raise self._broker_error

    def _dispatch(self, run_id: int) -> None:
        """Queue what is pending, as a part of a scan of which nobody knows how many files it will find."""
        queue = choose_queue(self._order, self._files)
        dispatch(self._database, run_id, self._order, queue, HEAD_START_MIN_JOBS, followed=self._followed)

    @property
    def _files(self) -> int:
        """The files that were found so far in all folders of the order."""
        return sum(self._files_by_part.values())
