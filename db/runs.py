"""Runs: opening and closing them, and how far they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Insert, Select, Update, exists, func, insert, select, update

from db.prepared import prepared, prepared_many, read_inserted_id
from db.tables import OPEN_STATUSES, Library, Prediction, PredictionStatus, Run, RunLibrary


@dataclass(frozen=True)
class Counts:
    """How far a run is, in tracks. At every moment `found` is the sum of the others."""

    found: int
    skipped: int
    handed_over: int
    pending: int
    queued: int
    running: int
    done: int
    failed: int
    quarantined: int
    duplicate: int

    @property
    def open(self) -> int:
        """Tracks that have no outcome yet."""
        return self.pending + self.queued + self.running

    @property
    def balanced(self) -> bool:
        """Whether every track that was found is counted once."""
        ended = self.skipped + self.handed_over + self.done + self.failed + self.quarantined + self.duplicate
        return self.found == ended + self.open


def open_run(connection: Connection, model_id: int, coverage: str, library_ids: Iterable[int], moment: datetime) -> int:
    """The id of the unfinished run of exactly these libraries with this model and coverage, or of a new one.

    Until the transaction ends, other producers that want a run of one of these libraries wait.
    """
    wanted_ids = set(library_ids)
    _lock_libraries(connection, wanted_ids)
    libraries_of_run = defaultdict(set)
    for run_id, library_id in _select_unfinished_runs(connection, model_id, coverage):
        libraries_of_run[run_id].add(library_id)
    same = [run_id for run_id, its_ids in libraries_of_run.items() if its_ids == wanted_ids]
    if same:
        return max(same)
    run_id = read_inserted_id(_insert_run(connection, model_id, coverage, moment))
    _insert_run_libraries(connection, [{"run_id": run_id, "library_id": id} for id in sorted(wanted_ids)])
    return run_id


@prepared
def _lock_libraries(library_ids: Collection[int]) -> Select[int]:
    return select(Library.id).where(Library.id.in_(library_ids)).order_by(Library.id).with_for_update(key_share=True)


@prepared
def _select_unfinished_runs(model_id: int, coverage: str) -> Select[int, int]:
    return (
        select(Run.id, RunLibrary.library_id)
        .join(RunLibrary, RunLibrary.run_id == Run.id)
        .where(Run.model_id == model_id, Run.coverage == coverage, Run.finished_at.is_(None))
    )


@prepared
def _insert_run(model_id: int, coverage: str, moment: datetime) -> Insert:
    return insert(Run).values(model_id=model_id, coverage=coverage, started_at=moment)


@prepared_many
def _insert_run_libraries() -> Insert:
    return insert(RunLibrary)


def count_run(connection: Connection, run_id: int) -> Counts:
    """How far the run is."""
    found, skipped, handed_over = _select_run_counts(connection, run_id).one()
    by_status = dict.fromkeys((status.value for status in PredictionStatus), 0)
    by_status |= dict(_count_predictions(connection, run_id).all())
    return Counts(found, skipped, handed_over, **by_status)


@prepared
def _select_run_counts(run_id: int) -> Select[int, int, int]:
    return select(Run.found, Run.skipped, Run.handed_over).where(Run.id == run_id)


@prepared
def _count_predictions(run_id: int) -> Select[str, int]:
    return select(Prediction.status, func.count()).where(Prediction.run_id == run_id).group_by(Prediction.status)


@prepared
def finish_runs(moment: datetime) -> Update:
    """Close every run that has no open prediction left."""
    is_open = exists().where(Prediction.run_id == Run.id, Prediction.status.in_(OPEN_STATUSES))
    return update(Run).where(Run.finished_at.is_(None), ~is_open).values(finished_at=moment)
