"""How tracks ended: their scores, or what went wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import chain, groupby
from operator import attrgetter

from sqlalchemy import Connection, and_, bindparam, delete, select, update

from db.prepared import prepared
from db.tables import Prediction, Run, Score, Status

MOST_ROWS = 1000  # of a statement: SQLite takes 32,766 values, five to a row


@dataclass(frozen=True)
class Outcome:
    """How a track of a job ended: with probabilities in the order of genre_ids, or with an error."""

    job_id: str
    track_id: int
    model_id: int
    coverage: str
    device: str
    amp: bool
    windows: int = 0
    elapsed_ms: float | None = None
    genre_ids: Sequence[int] = ()
    probabilities: Sequence[float] = ()
    error_code: str | None = None
    error_detail: str | None = None

    @property
    def key(self) -> tuple[int, int, str]:
        """The prediction's primary key."""
        return self.track_id, self.model_id, self.coverage


def record_outcomes(connection: Connection, outcomes: Sequence[Outcome], at: datetime) -> int:
    """Write tracks' scores and their ends in this transaction. A track that has an outcome already, or that went to
    another job, is left alone. Returns how many were written."""
    accepted = _lock_running(connection, outcomes)
    if accepted:
        _update_predictions(connection, accepted, at)
        _replace_scores(connection, [outcome for outcome in accepted if outcome.error_code is None])
        _free_duplicates(connection, [outcome for outcome in accepted if outcome.error_code is not None])
    return len(accepted)


def _lock_running(connection: Connection, outcomes: Sequence[Outcome]) -> list[Outcome]:
    job_ids = {outcome.job_id for outcome in outcomes}
    running = set(connection.execute(*_running(job_ids, [outcome.track_id for outcome in outcomes])))
    return list({o.key: o for o in outcomes if (o.track_id, o.job_id) in running}.values())


@prepared
def _running(job_ids, track_ids):
    return (
        select(Prediction.track_id, Prediction.job_id)
        .where(Prediction.job_id.in_(job_ids), Prediction.track_id.in_(track_ids), Prediction.status == Status.RUNNING)
        .order_by(Prediction.track_id)
        .with_for_update()
    )


_OF_KEY = and_(
    Prediction.track_id == bindparam("key_track"),
    Prediction.model_id == bindparam("key_model"),
    Prediction.coverage == bindparam("key_coverage"),
)
_ENDING = (
    "status", "error_code", "error_detail", "windows", "device", "amp", "elapsed_ms", "finished_at"
)  # fmt: skip
_END_PREDICTION = update(Prediction).where(_OF_KEY).values({name: bindparam(name) for name in _ENDING})


def _update_predictions(connection: Connection, outcomes: Sequence[Outcome], at: datetime) -> None:
    rows = [
        {
            "key_track": o.track_id,
            "key_model": o.model_id,
            "key_coverage": o.coverage,
            "status": (Status.FAILED if o.error_code else Status.DONE).value,
            "error_code": o.error_code,
            "error_detail": o.error_detail,
            "windows": o.windows,
            "device": o.device,
            "amp": o.amp,
            "elapsed_ms": o.elapsed_ms,
            "finished_at": at,
        }
        for o in outcomes
    ]
    connection.execute(_END_PREDICTION, rows)


_ANALYSIS = attrgetter("model_id", "coverage")


def _replace_scores(connection: Connection, outcomes: Sequence[Outcome]) -> None:
    if not outcomes:
        return
    for (model_id, coverage), group in groupby(sorted(outcomes, key=_ANALYSIS), _ANALYSIS):
        track_ids = [outcome.track_id for outcome in group]  # keys as tuples, and SQLite would read the whole table
        connection.execute(*_delete_scores(track_ids, model_id, coverage))
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    parts = sorted(chain.from_iterable(map(_score_rows, outcomes)), key=len)
    for count, some in groupby(parts, len):
        connection.exec_driver_sql(_insert_scores(count, mark), [tuple(chain.from_iterable(rows)) for rows in some])


@prepared
def _delete_scores(track_ids, model_id, coverage):
    return delete(Score).where(Score.track_id.in_(track_ids), Score.model_id == model_id, Score.coverage == coverage)


def _score_rows(outcome: Outcome) -> list[list[tuple]]:
    """A track's rows, in parts that a statement can take."""
    key = outcome.key
    rows = [(*key, *score) for score in zip(outcome.genre_ids, outcome.probabilities, strict=True)]
    return [rows[at : at + MOST_ROWS] for at in range(0, len(rows), MOST_ROWS)]


@cache
def _insert_scores(rows: int, mark: str) -> str:
    """One statement for the scores of a track: sqlite3 lets other threads in, and waits for its turn again, at every
    statement."""
    row = f"({', '.join([mark] * 5)})"
    return f"INSERT INTO score (track_id, model_id, coverage, genre_id, probability) VALUES {', '.join([row] * rows)}"


def _free_duplicates(connection: Connection, failed: Sequence[Outcome]) -> None:
    """A file that failed stands for nobody: its duplicates get an analysis of their own, and a run that was closed
    with them is open again."""
    for outcome in failed:
        freed = and_(
            Prediction.duplicate_of == outcome.track_id,
            Prediction.model_id == outcome.model_id,
            Prediction.coverage == outcome.coverage,
            Prediction.status == Status.DUPLICATE,
        )
        run_ids = connection.scalars(select(Prediction.run_id).where(freed).distinct()).all()
        if run_ids:
            connection.execute(
                update(Prediction).where(freed).values(status=Status.PENDING, duplicate_of=None, job_id=None)
            )
            connection.execute(update(Run).where(Run.id.in_(run_ids)).values(finished_at=None))
