"""How tracks ended: with the scores of all genres, or with an error."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Select, and_, select
from sqlalchemy.orm import aliased

from db.duplicates import free_duplicates
from db.prepared import prepared
from db.ranking import Scores, rank_scores
from db.scores import (
    EndedPrediction,
    clear_newest,
    copy_scores,
    read_labels,
    store_embeddings,
    store_predictions,
)
from db.tables import Prediction, PredictionStatus


@dataclass(frozen=True)
class Outcome:
    """How a track of a job ended: with the probabilities of the genres with these ids, or with an error."""

    job_id: int
    track_id: int
    model_id: int
    coverage: str
    device: str
    amp: bool
    windows: int = 0
    elapsed_ms: float | None = None
    genre_ids: Sequence[int] = ()
    probabilities: Sequence[float] = ()
    embedding: bytes | None = None  # float16 numbers, little endian: see db.tables.Embedding.
    error_code: str | None = None
    error_detail: str | None = None


def record_outcomes(connection: Connection, outcomes: Sequence[Outcome], moment: datetime) -> int:
    """Store outcomes. Returns how many were stored.

    An outcome is left out if its track already has one, or is in another job by now. Of several outcomes of one track
    the last one is stored. Duplicates of a track get its scores, or have to be analysed themselves if it failed.
    """
    accepted = _lock_running(connection, outcomes)
    scores = _rank(connection, accepted)
    clear_newest(connection, list(scores))
    rows = [_end_of_prediction(id_, outcome, scores.get(id_), moment) for id_, outcome in accepted.items()]
    store_predictions(connection, rows, scores)
    store_embeddings(connection, {id_: outcome.embedding for id_, outcome in accepted.items()})
    if scores:
        duplicates = _select_duplicates(connection, list(scores))
        copy_scores(connection, [(original, duplicate) for original, duplicate in duplicates], moment)
    if failed := [id_ for id_ in accepted if id_ not in scores]:
        free_duplicates(connection, [duplicate for _, duplicate in _select_duplicates(connection, failed)])
    return len(accepted)


def _lock_running(connection: Connection, outcomes: Sequence[Outcome]) -> dict[int, Outcome]:
    """The outcomes whose tracks are running in the same job still, by prediction id. Their predictions are locked."""
    job_ids = {outcome.job_id for outcome in outcomes}
    track_ids = [outcome.track_id for outcome in outcomes]
    running = _lock_running_predictions(connection, job_ids, track_ids)
    ids = {(track_id, job_id): id_ for id_, track_id, job_id in running}
    keys = [(outcome.track_id, outcome.job_id) for outcome in outcomes]
    return {ids[key]: outcome for key, outcome in zip(keys, outcomes, strict=True) if key in ids}


@prepared
def _lock_running_predictions(job_ids: Collection[int], track_ids: Sequence[int]) -> Select[int, int, int | None]:
    is_running = Prediction.status == PredictionStatus.RUNNING
    return (
        select(Prediction.id, Prediction.track_id, Prediction.job_id)
        .where(Prediction.job_id.in_(job_ids), Prediction.track_id.in_(track_ids), is_running)
        .order_by(Prediction.track_id)
        .with_for_update()
    )


def _rank(connection: Connection, outcomes: Mapping[int, Outcome]) -> dict[int, Scores]:
    """The ranked scores of the outcomes that have some, by prediction id."""
    succeeded = {id_: outcome for id_, outcome in outcomes.items() if outcome.error_code is None}
    model_ids = {outcome.model_id for outcome in succeeded.values()}
    labels = {model_id: read_labels(connection, model_id) for model_id in model_ids}
    return {
        id_: rank_scores(labels[outcome.model_id], outcome.genre_ids, outcome.probabilities)
        for id_, outcome in succeeded.items()
    }


def _end_of_prediction(
    prediction_id: int, outcome: Outcome, scores: Scores | None, moment: datetime
) -> EndedPrediction:
    first_genre_id, first_probability = (None, None) if scores is None else scores.first
    return {
        "of_prediction": prediction_id,
        "status": (PredictionStatus.FAILED if scores is None else PredictionStatus.DONE).value,
        "is_newest": scores is not None,
        "first_genre_id": first_genre_id,
        "first_probability": first_probability,
        "error_code": outcome.error_code,
        "error_detail": outcome.error_detail,
        "windows": outcome.windows,
        "device": outcome.device,
        "amp": outcome.amp,
        "elapsed_ms": outcome.elapsed_ms,
        "finished_at": moment,
    }


@prepared
def _select_duplicates(prediction_ids: Sequence[int]) -> Select[int, int]:
    """The duplicates of these predictions: the id of the original's prediction, and that of the duplicate's."""
    original, duplicate = aliased(Prediction), aliased(Prediction)
    stands_for = and_(
        duplicate.duplicate_of == original.track_id,
        duplicate.model_id == original.model_id,
        duplicate.coverage == original.coverage,
        duplicate.status == PredictionStatus.DUPLICATE,
        duplicate.audio_hash == original.audio_hash,  # Otherwise it is a duplicate of what the file was before.
    )
    return select(original.id, duplicate.id).join(duplicate, stands_for).where(original.id.in_(prediction_ids))
