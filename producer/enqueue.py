"""From folders of music to jobs on the queue: scan, plan, dispatch. A first scan queues jobs while it goes on."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence

from db import models, plans, runs, tracks
from db.plans import DuplicateCandidate
from db.session import Database
from db.types import now
from producer.audio_hash import same_audio
from producer.dispatch import choose_queue, dispatch
from producer.order import Order
from producer.scan import FIRST_BATCH, Scan, scan_library
from settings import GenremillError

HEAD_START_FILES = FIRST_BATCH  # After so many files a first scan queues jobs for the first time.
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

    Jobs that the broker does not take are in the database, and sent by the next reconcile. A caller that does not stay
    with the run (`followed`) gets a GenremillError in that case. Raises OSError when a folder is not there.
    """
    with database.write() as connection:
        roots = [os.fsencode(root.resolve(strict=True)) for root in order.roots]
        library_ids = [tracks.put_library(connection, root) for root in roots]
        is_first_scan = not tracks.has_tracks(connection, library_ids)
    head_start = HeadStart(database, order, library_ids)

    def on_scan_progress(scan: Scan) -> None:
        on_progress(scan)
        if is_first_scan:
            head_start.update(scan)

    for root in order.roots:
        scan_library(database, root, order.exclude, on_scan_progress)
    run_id = plan(database, order, library_ids, head_start.run_id)
    try:
        head_start.dispatch_rest(run_id)
    except GenremillError as error:
        if not followed:
            raise
        log.warning("some jobs are sent later: %s", error)
    return run_id


class HeadStart:
    """Plans and queues what a first scan has found while the scan goes on, so that workers can begin.

    It does so after HEAD_START_FILES files, and then each time that the number of files has doubled. A later scan has
    to end first. Until then, a file that looks new may be one that was moved and is analysed already.
    """

    def __init__(self, database: Database, order: Order, library_ids: Sequence[int]) -> None:
        self.run_id: int | None = None  # The run that tracks were queued for. None before the first time.
        self._database = database
        self._order = order
        self._library_ids = library_ids
        self._files_by_library: dict[int, int] = {}
        self._next_files = HEAD_START_FILES  # The number of files after which tracks are queued again.
        self._broker_error: GenremillError | None = None

    def update(self, scan: Scan) -> None:
        """Queue what was found if there is enough of it. A broker that does not take it does not end the scan."""
        self._files_by_library[scan.library_id] = scan.seen
        if self._files < self._next_files:
            return
        self._next_files = 2 * self._files
        self.run_id = plan(self._database, self._order, self._library_ids, self.run_id)
        try:
            self._dispatch(self.run_id)
        except GenremillError as error:
            self._broker_error = error

    def dispatch_rest(self, run_id: int) -> None:
        """Queue what is pending after the scan. Raises GenremillError when the broker did not take all of the run."""
        if self.run_id is None:
            dispatch(self._database, run_id, self._order)
        else:
            self._dispatch(run_id)
        if self._broker_error is not None:
            raise self._broker_error

    def _dispatch(self, run_id: int) -> None:
        """Queue what is pending, as a part of a scan of which nobody knows how many files it will find."""
        queue = choose_queue(self._order, self._files)
        dispatch(self._database, run_id, self._order, queue, HEAD_START_MIN_JOBS)

    @property
    def _files(self) -> int:
        """The files that were found so far in all libraries of the order."""
        return sum(self._files_by_library.values())


def plan(database: Database, order: Order, library_ids: Sequence[int], run_id: int | None = None) -> int:
    """Decide which tracks the run has to analyse. Returns the id of the run.

    run_id: None continues the unfinished run of these libraries, or makes a new one.
    """
    identity = (order.checkpoint.name, order.checkpoint.version, order.checkpoint.sha256)
    with database.write() as connection:
        model_id = models.put_model(connection, *identity)
        if run_id is None:
            run_id = runs.open_run(connection, model_id, order.coverage, library_ids, now())
        plans.plan_run(connection, run_id, order.retry)
        candidates = plans.find_duplicate_candidates(connection, run_id)
        if not candidates:
            runs.finish_runs(connection, now())
    if candidates:
        merge_duplicates(database, run_id, candidates)
    return run_id


def merge_duplicates(database: Database, run_id: int, candidates: Iterable[DuplicateCandidate]) -> None:
    """Let one analysis stand for those of the candidates whose audio is the same, byte for byte."""
    duplicates = [candidate for candidate in candidates if same_audio(candidate.path, candidate.leader_path)]
    with database.write() as connection:
        plans.mark_duplicates(connection, run_id, duplicates)
        runs.finish_runs(connection, now())
