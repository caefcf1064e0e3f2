"""Writes the outcomes of tracks into the database, many to a transaction."""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, repeat

from db.outcomes import Outcome, record_outcomes
from db.session import Database, is_transient
from db.types import now

MAX_OUTCOMES = 64  # Outcomes in one transaction.
GATHER_S = 0.002  # Seconds that an outcome waits for others: the tracks of a batch end one right after the other.
RETRY_DELAYS_S = (0.1, 0.5, 1.0, 2.0, 5.0)  # Seconds between attempts while the database is away. The last one repeats.

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Entry:
    """An outcome to be stored. on_stored: called with None when it is, or with the reason why it cannot be."""

    outcome: Outcome
    on_stored: Callable[[Exception | None], None]


class ResultWriter:
    """One thread that stores outcomes. While the database is away it tries again; no outcome is dropped."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entries: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()  # None: the last entry was before it
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="result-writer", daemon=True)
        self._thread.start()

    def put(self, outcome: Outcome, on_stored: Callable[[Exception | None], None]) -> None:
        """Store the outcome soon. on_stored is called from the writer's thread, with None when it is stored.

        An outcome that another worker was faster with counts as stored. When the database refuses a transaction, the
        on_stored of every outcome in it is called with the database's error.
        """
        self._entries.put(_Entry(outcome, on_stored))

    def close(self) -> None:
        """Store what was put, then stop. While the database is away, this waits for no second attempt: on_stored gets
        the error, and the tracks are analysed again by whoever takes the job next."""
        self._closing.set()
        self._entries.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            entries, is_open = self._take()
            if entries:
                error = self._store([entry.outcome for entry in entries])
                for entry in entries:
                    entry.on_stored(error)

    def _take(self) -> tuple[list[_Entry], bool]:
        """Wait for entries. Returns those that gathered during the last transaction, and whether more may come."""
        entries: list[_Entry] = []
        entry = self._entries.get()
        self._closing.wait(GATHER_S)
        while entry is not None:
            entries.append(entry)
            if len(entries) == MAX_OUTCOMES:
                break
            try:
                entry = self._entries.get_nowait()
            except queue.Empty:
                break
        return entries, entry is not None

    def _store(self, outcomes: list[Outcome]) -> Exception | None:
        """Store outcomes in one transaction, with as many attempts as it takes while the database is away.

        Returns None, or the error that a further attempt would not mend.
        """
        for delay_s in chain(RETRY_DELAYS_S, repeat(RETRY_DELAYS_S[-1])):
            try:
                with self._database.write() as connection:
                    record_outcomes(connection, outcomes, now())
                return None
            except Exception as error:
                if not is_transient(error) or self._closing.is_set():
                    log.exception("%d outcomes could not be stored", len(outcomes))
                    return error
                log.warning("the database does not take outcomes, trying again in %g s: %s", delay_s, error)
            self._closing.wait(delay_s)
        raise AssertionError("the delays never end")
