"""The writer: tracks' outcomes into SQL, many to a transaction."""

import logging
import queue
import threading
from collections.abc import Callable

from db.outcomes import Outcome, record_outcomes
from db.session import Database, is_transient
from db.types import now

MOST_TRACKS = 64  # to a transaction
GATHER_S = 0.002  # that an outcome waits for others: those of a batch come one right after the other
RETRY_S = (0.1, 0.5, 1.0, 2.0, 5.0)  # waits while the database is away; the last one repeats

log = logging.getLogger(__name__)

Written = Callable[[Exception | None], None]  # called when the outcome is stored, or with the reason it cannot be


class ResultWriter:
    """One thread that stores outcomes. While the database is away it waits for it; nothing is dropped."""

    def __init__(self, database: Database):
        self._database = database
        self._outcomes: queue.SimpleQueue[tuple[Outcome, Written] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def put(self, outcome: Outcome, written: Written) -> None:
        """Store this soon."""
        self._outcomes.put((outcome, written))

    def close(self) -> None:
        """Store what was put, then stop; what a database that is away would not take is left to be done again."""
        self._closing.set()
        self._outcomes.put(None)
        self._thread.join()

    def _work(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._take()
            if batch:
                self._store(batch)

    def _take(self) -> tuple[list[tuple[Outcome, Written]], bool]:
        """What has gathered while the last transaction ran, and whether there is more to come."""
        batch = [self._outcomes.get()]
        self._closing.wait(GATHER_S)
        while batch[-1] is not None and len(batch) < MOST_TRACKS:
            try:
                batch.append(self._outcomes.get_nowait())
            except queue.Empty:
                break
        return [entry for entry in batch if entry is not None], batch[-1] is not None

    def _store(self, batch: list[tuple[Outcome, Written]]) -> None:
        error = self._try_until_stored([outcome for outcome, _ in batch])
        for _, written in batch:
            written(error)

    def _try_until_stored(self, outcomes: list[Outcome]) -> Exception | None:
        tries = 0
        while True:
            try:
                with self._database.write() as connection:
                    record_outcomes(connection, outcomes, now())
                return None
            except Exception as error:
                if not is_transient(error) or self._closing.is_set():
                    log.exception("%d outcomes could not be stored", len(outcomes))
                    return error
                log.warning("the database is away, trying again: %s", error)
            self._closing.wait(RETRY_S[min(tries, len(RETRY_S) - 1)])
            tries += 1
