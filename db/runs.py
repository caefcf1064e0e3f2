"""Runs: opening and closing them, and how far they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Select,
    Update,
    and_,
    exists,
    func,
    insert,
    select,
    true,
    update,
)

from db.parts import Part, outermost
from db.prepared import prepared, prepared_many, read_inserted_id
from db.statistics import prefer_indexes
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


def open_run(connection: Connection, model_id: int, coverage: str, parts: Iterable[Part], moment: datetime) -> int:
    """The id of the unfinished run of exactly these parts of libraries with this model and coverage, or of a new one.

    Until the transaction ends, other producers that want a run of one of these libraries wait.
    """
    wanted = outermost(parts)
    lock_libraries(connection, {part.library_id for part in wanted})
    parts_of_run = defaultdict(set)
    for run_id, library_id, path in _select_unfinished_runs(connection, model_id, coverage):
        parts_of_run[run_id].add(Part(library_id, path))
    same = [run_id for run_id, its_parts in parts_of_run.items() if outermost(its_parts) == wanted]
    if same:
        return max(same)
    run_id = read_inserted_id(_insert_run(connection, model_id, coverage, moment))
    _insert_run_libraries(connection, [{"run_id": run_id, **part._asdict()} for part in wanted])
    return run_id


@prepared
def lock_libraries(library_ids: Collection[int]) -> Select[int]:
    """Let other producers that plan or scan these libraries wait until the transaction ends."""
    return select(Library.id).where(Library.id.in_(library_ids)).order_by(Library.id).with_for_update(key_share=True)


@prepared
def _select_unfinished_runs(model_id: int, coverage: str) -> Select[int, int, bytes]:
    return (
        select(Run.id, RunLibrary.library_id, RunLibrary.path)
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
    """How far the run is. It is one statement, so that all counts are of one moment."""
    rows = _select_counts(connection, run_id).all()
    found, skipped, handed_over = rows[0][:3]
    by_status = dict.fromkeys((status.value for status in PredictionStatus), 0)
    by_status |= {status: count for *_, status, count in rows if status is not None}
    return Counts(found, skipped, handed_over, **by_status)


@prepared
def _select_counts(run_id: int) -> Select[int, int, int, str | None, int]:
    of_run = select(Prediction.status, func.count().label("tracks")).where(Prediction.run_id == run_id)
    by_status = of_run.group_by(Prediction.status).subquery()
    return (
        select(Run.found, Run.skipped, Run.handed_over, by_status.c.status, by_status.c.tracks)
        .outerjoin(by_status, true())
        .where(Run.id == run_id)
    )


def finish_runs(connection: Connection, moment: datetime) -> None:
    """Close every run that has no open prediction left.

    They are locked first, in the order in which a plan locks them, too. It may be about to add predictions to them.
    """
    prefer_indexes(connection)
    run_ids = _lock_ended_runs(connection).scalars().all()
    if run_ids:
        _finish_runs(connection, run_ids, moment)


@prepared
def _lock_ended_runs() -> Select[int]:
    return select(Run.id).where(_has_ended()).order_by(Run.id).with_for_update()


@prepared
def _finish_runs(run_ids: Sequence[int], moment: datetime) -> Update:
    return update(Run).where(Run.id.in_(run_ids), _has_ended()).values(finished_at=moment)


def _has_ended() -> ColumnElement[bool]:
    """Whether an unfinished run has no open prediction."""
    is_open = exists().where(Prediction.run_id == Run.id, Prediction.status.in_(OPEN_STATUSES))
    return and_(Run.finished_at.is_(None), ~is_open)
