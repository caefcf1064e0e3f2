"""How tracks ended: with the scores of all genres, or with an error."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import chain, groupby
from operator import attrgetter

from sqlalchemy import ColumnElement, Connection, Delete, Select, Update, and_, bindparam, delete, select, update

from db.prepared import prepared, prepared_many
from db.tables import Prediction, PredictionStatus, Run, Score

# How many scores one statement inserts at most. SQLite takes 32,766 values in a statement, and a score has five.
MAX_SCORES_PER_STATEMENT = 1000

ScoreRow = tuple[int, int, str, int, float]  # The columns of the table `score`, in their order.


@dataclass(frozen=True)
class Outcome:
    """How a track of a job ended: with the probabilities of the genres with these ids, or with an error."""

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
        """The primary key of the prediction."""
        return self.track_id, self.model_id, self.coverage


def record_outcomes(connection: Connection, outcomes: Sequence[Outcome], moment: datetime) -> int:
    """Store outcomes. Returns how many were stored.

    An outcome is left out if its track already has one, or is in another job by now. Of several outcomes of one track
    the last one is stored.
    """
    accepted = _lock_running(connection, outcomes)
    succeeded = [outcome for outcome in accepted if outcome.error_code is None]
    failed = [outcome for outcome in accepted if outcome.error_code is not None]
    _end_predictions(connection, [_end_of_prediction(outcome, moment) for outcome in accepted])
    _delete_earlier_scores(connection, succeeded)
    _insert_scores(connection, succeeded)
    for outcome in failed:
        _free_duplicates(connection, outcome)
    return len(accepted)


def _lock_running(connection: Connection, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes whose tracks are running in the same job still. Their predictions are locked."""
    job_ids = {outcome.job_id for outcome in outcomes}
    track_ids = [outcome.track_id for outcome in outcomes]
    running = set(_lock_running_predictions(connection, job_ids, track_ids).all())
    accepted = {outcome.key: outcome for outcome in outcomes if (outcome.track_id, outcome.job_id) in running}
    return list(accepted.values())


@prepared
def _lock_running_predictions(job_ids: Collection[str], track_ids: Sequence[int]) -> Select[int, str | None]:
    is_running = Prediction.status == PredictionStatus.RUNNING
    return (
        select(Prediction.track_id, Prediction.job_id)
        .where(Prediction.job_id.in_(job_ids), Prediction.track_id.in_(track_ids), is_running)
        .order_by(Prediction.track_id)
        .with_for_update()
    )


def _end_of_prediction(outcome: Outcome, moment: datetime) -> dict[str, object]:
    """The values of _end_predictions."""
    return {
        "of_track": outcome.track_id,
        "of_model": outcome.model_id,
        "of_coverage": outcome.coverage,
        "status": (PredictionStatus.FAILED if outcome.error_code else PredictionStatus.DONE).value,
        "error_code": outcome.error_code,
        "error_detail": outcome.error_detail,
        "windows": outcome.windows,
        "device": outcome.device,
        "amp": outcome.amp,
        "elapsed_ms": outcome.elapsed_ms,
        "finished_at": moment,
    }


@prepared_many
def _end_predictions() -> Update:
    columns = ("status", "error_code", "error_detail", "windows", "device", "amp", "elapsed_ms", "finished_at")
    values: dict[str, object] = {name: bindparam(name) for name in columns}
    return (
        update(Prediction)
        .where(
            Prediction.track_id == bindparam("of_track"),
            Prediction.model_id == bindparam("of_model"),
            Prediction.coverage == bindparam("of_coverage"),
        )
        .values(**values)
    )


_ANALYSIS = attrgetter("model_id", "coverage")  # What outcomes have in common whose scores one statement deletes.


def _delete_earlier_scores(connection: Connection, outcomes: Iterable[Outcome]) -> None:
    """Delete what earlier analyses have stored of these tracks."""
    for (model_id, coverage), group in groupby(sorted(outcomes, key=_ANALYSIS), _ANALYSIS):
        _delete_scores(connection, [outcome.track_id for outcome in group], model_id, coverage)


@prepared
def _delete_scores(track_ids: Sequence[int], model_id: int, coverage: str) -> Delete:
    """Delete the scores of these tracks. SQLite finds them by the primary key, which it would not do by tuples."""
    return delete(Score).where(Score.track_id.in_(track_ids), Score.model_id == model_id, Score.coverage == coverage)


def _insert_scores(connection: Connection, outcomes: Iterable[Outcome]) -> None:
    """Store the scores, with one statement for each track.

    This is plain SQL instead of a prepared statement of SQLAlchemy: a statement with all rows of a track is executed
    faster than one that is executed for each row, and sqlite3 lets another thread run after each execution.
    """
    placeholder = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    chunks = sorted(chain.from_iterable(_chunk_scores(outcome) for outcome in outcomes), key=len)
    for count, group in groupby(chunks, len):
        values = [tuple(chain.from_iterable(chunk)) for chunk in group]
        connection.exec_driver_sql(_insert_scores_sql(count, placeholder), values)


def _chunk_scores(outcome: Outcome) -> list[list[ScoreRow]]:
    """The rows of a track's scores, in chunks that a statement can take."""
    scores = zip(outcome.genre_ids, outcome.probabilities, strict=True)
    rows = [(*outcome.key, genre_id, probability) for genre_id, probability in scores]
    starts = range(0, len(rows), MAX_SCORES_PER_STATEMENT)
    return [rows[start : start + MAX_SCORES_PER_STATEMENT] for start in starts]


@cache
def _insert_scores_sql(rows: int, placeholder: str) -> str:
    """The statement that inserts so many scores."""
    row = f"({', '.join([placeholder] * 5)})"
    return f"INSERT INTO score (track_id, model_id, coverage, genre_id, probability) VALUES {', '.join([row] * rows)}"


def _free_duplicates(connection: Connection, failed: Outcome) -> None:
    """Let the duplicates of a track that failed be analysed themselves. Reopen the runs that were closed with them."""
    run_ids = _select_runs_of_duplicates(connection, *failed.key).scalars().all()
    if run_ids:
        _reset_duplicates(connection, *failed.key)
        _reopen_runs(connection, run_ids)


@prepared
def _select_runs_of_duplicates(track_id: int, model_id: int, coverage: str) -> Select[int]:
    return select(Prediction.run_id).where(_is_duplicate(track_id, model_id, coverage)).distinct()


@prepared
def _reset_duplicates(track_id: int, model_id: int, coverage: str) -> Update:
    reset = {"status": PredictionStatus.PENDING, "duplicate_of": None, "job_id": None}
    return update(Prediction).where(_is_duplicate(track_id, model_id, coverage)).values(**reset)


@prepared
def _reopen_runs(run_ids: Sequence[int]) -> Update:
    return update(Run).where(Run.id.in_(run_ids)).values(finished_at=None)


def _is_duplicate(track_id: int, model_id: int, coverage: str) -> ColumnElement[bool]:
    """Whether a prediction is a duplicate for which that of this track stands."""
    return and_(
        Prediction.duplicate_of == track_id,
        Prediction.model_id == model_id,
        Prediction.coverage == coverage,
        Prediction.status == PredictionStatus.DUPLICATE,
    )
