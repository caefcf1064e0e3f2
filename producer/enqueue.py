"""From libraries to queued jobs: scan, plan, queue; a first scan queues while it goes on."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from db import plans, runs, tracks
from db.plans import DuplicateCandidate
from db.session import Database
from db.types import now
from producer.audio_hash import same_audio
from producer.dispatch import FAST_TRACKS, dispatch
from producer.order import Order
from producer.scan import FIRST_BATCH, Scan, scan_library
from settings import GenremillError

HEAD_START_FILES = FIRST_BATCH  # of a first scan are queued before it goes on
HEAD_START_JOBS = 2  # at the least, of each part that is queued so

log = logging.getLogger(__name__)


def enqueue(
    database: Database,
    order: Order,
    progress: Callable[[Scan], None] = lambda scan: None,
    *,
    followed: bool = False,
) -> int:
    """Scan the order's libraries and queue what has to be analysed. Returns the run's id.

    An unfinished run of the same libraries is taken up again. Nothing is lost when the broker fails on the way: the
    jobs are in the database, and the next `enqueue`, `run` or reconciliation sends them. Raises GenremillError then,
    unless the run is followed.
    """
    head_start = HeadStart(database, order)

    def scanned(scan: Scan) -> None:
        progress(scan)
        head_start.scanned(scan)

    for root in order.roots:
        scan_library(database, root, order.exclude, scanned)
    run_id = head_start.plan()
    try:
        head_start.dispatch()
    except GenremillError as error:
        if not followed:
            raise
        log.warning("some jobs are sent later: %s", error)
    return run_id


class HeadStart:
    """Queues what a first scan has found while it goes on, each time when there is twice as much.

    A later scan has to end first: until then, what looks new may be a file that was moved.
    """

    def __init__(self, database: Database, order: Order):
        self._run_id: int | None = None
        self._database, self._order = database, order
        self._seen: dict[int, int] = {}  # files, by library
        self._next = HEAD_START_FILES
        self._unsent: GenremillError | None = None
        with database.write() as connection:
            roots = [os.fsencode(root.resolve(strict=True)) for root in order.roots]
            self.library_ids = [tracks.put_library(connection, root) for root in roots]
            self._is_first = not tracks.have_tracks(connection, self.library_ids)

    def scanned(self, scan: Scan) -> None:
        """Some files more were looked at. A broker that does not take them does not end the scan."""
        self._seen[scan.library_id] = scan.seen
        if self._is_first and self._files >= self._next:
            self._next = 2 * self._files
            self.plan()
            try:
                self._dispatch()
            except GenremillError as error:
                self._unsent = error

    def plan(self) -> int:
        """Let the run have what was found so far. Returns its id."""
        self._run_id = plan(self._database, self._order, self.library_ids, self._run_id)
        return self._run_id

    def dispatch(self) -> None:
        """Queue the rest. Raises GenremillError when the broker did not take all that there was."""
        self._dispatch()
        if self._unsent is not None:
            raise self._unsent

    def _dispatch(self) -> None:
        if self._next == HEAD_START_FILES:  # there was no head start
            dispatch(self._database, self._run_id, self._order)
            return
        queue = self._order.queue or ("fast" if self._files <= FAST_TRACKS else "bulk")
        dispatch(self._database, self._run_id, replace(self._order, queue=queue), HEAD_START_JOBS)

    @property
    def _files(self) -> int:
        return sum(self._seen.values())


def plan(database: Database, order: Order, library_ids: Sequence[int], run_id: int | None = None) -> int:
    """Decide what the run has to analyse: this one, or the unfinished or a new one of the libraries. Returns its id."""
    identity = (order.checkpoint.name, order.checkpoint.version, order.checkpoint.sha256)
    with database.write() as connection:
        model_id = runs.put_model(connection, *identity)
        run_id = run_id or runs.open_run(connection, model_id, order.coverage, library_ids, now())
        plans.plan_run(connection, run_id, order.retry)
        candidates = plans.find_duplicate_candidates(connection, run_id)
        if not candidates:
            runs.finish_runs(connection, now())
    if candidates:
        merge_duplicates(database, run_id, candidates)
    return run_id


def merge_duplicates(database: Database, run_id: int, candidates: Iterable[DuplicateCandidate]) -> None:
    """Let one analysis stand for exact copies: equal hashes make candidates, comparing the audio decides."""
    duplicates = [duplicate for duplicate in candidates if same_audio(duplicate.path, duplicate.leader_path)]
    with database.write() as connection:
        plans.mark_duplicates(connection, run_id, duplicates)
        runs.finish_runs(connection, now())
