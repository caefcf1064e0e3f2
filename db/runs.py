"""Runs: whose they are, and how far."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from db.prepared import prepared
from db.tables import OPEN, Library, Model, Prediction, Run, RunLibrary, Status


@dataclass(frozen=True)
class Counts:
    """How far a run is, in tracks. At every moment found is the sum of the others."""

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
        """Tracks without an outcome yet."""
        return self.pending + self.queued + self.running

    @property
    def balanced(self) -> bool:
        """Whether every track found is accounted for."""
        ended = self.skipped + self.handed_over + self.done + self.failed + self.quarantined + self.duplicate
        return self.found == ended + self.open


def put_model(connection: Connection, name: str, version: str, weights_sha256: str) -> int:
    """The id of this model, entered where it is new."""
    known = _model(name, version, weights_sha256)
    if (found := connection.scalar(*known)) is not None:
        return found
    row = {"name": name, "version": version, "weights_sha256": weights_sha256}
    try:
        with connection.begin_nested():
            return connection.execute(insert(Model), row).inserted_primary_key[0]
    except IntegrityError:  # another producer was faster
        return connection.scalars(*known).one()


@prepared
def _model(name, version, weights_sha256):
    return select(Model.id).where(Model.name == name, Model.version == version, Model.weights_sha256 == weights_sha256)


def open_run(connection: Connection, model_id: int, coverage: str, library_ids: Iterable[int], at: datetime) -> int:
    """The unfinished run of just these libraries with this model, or a new one.

    Until the transaction ends nobody else plans a run of these libraries.
    """
    wanted = set(library_ids)
    connection.execute(*_lock_libraries(wanted))
    scopes = defaultdict(set)
    for run_id, library_id in connection.execute(*_unfinished(model_id, coverage)):
        scopes[run_id].add(library_id)
    for run_id, scope in sorted(scopes.items(), reverse=True):
        if scope == wanted:
            return run_id
    row = {"model_id": model_id, "coverage": coverage, "started_at": at, "found": 0, "skipped": 0, "handed_over": 0}
    run_id = connection.execute(insert(Run), row).inserted_primary_key[0]
    connection.execute(insert(RunLibrary), [{"run_id": run_id, "library_id": id} for id in sorted(wanted)])
    return run_id


@prepared
def _lock_libraries(ids):
    return select(Library.id).where(Library.id.in_(ids)).order_by(Library.id).with_for_update(key_share=True)


@prepared
def _unfinished(model_id, coverage):
    return (
        select(Run.id, RunLibrary.library_id)
        .join(RunLibrary, RunLibrary.run_id == Run.id)
        .where(Run.model_id == model_id, Run.coverage == coverage, Run.finished_at.is_(None))
    )


def count_run(connection: Connection, run_id: int) -> Counts:
    """How far the run is."""
    run = connection.execute(select(Run.found, Run.skipped, Run.handed_over).where(Run.id == run_id)).one()
    rows = connection.execute(
        select(Prediction.status, func.count()).where(Prediction.run_id == run_id).group_by(Prediction.status)
    )
    counts = dict.fromkeys((status.value for status in Status), 0) | dict(rows.all())
    return Counts(run.found, run.skipped, run.handed_over, **counts)


def finish_runs(connection: Connection, at: datetime) -> None:
    """Close the runs that have no open prediction left."""
    connection.execute(*_finish_done(at))


@prepared
def _finish_done(at):
    waiting = exists().where(Prediction.run_id == Run.id, Prediction.status.in_(OPEN))
    return update(Run).where(Run.finished_at.is_(None), ~waiting).values(finished_at=at)
