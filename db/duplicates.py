"""Duplicates: tracks for which another track's analysis stands, their leader's, because they hold the same audio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, Select, Update, bindparam, case, exists, func, select, update
from sqlalchemy.orm import aliased

from db.pages import LEADING_STATUSES, Analysis, Page, read_track_ids
from db.prepared import prepared, prepared_many
from db.scores import copy_scores, forget_scores
from db.statistics import prefer_indexes
from db.tables import Library, Prediction, PredictionStatus, Run, Track


@dataclass(frozen=True)
class DuplicateCandidate:
    """A track that may hold the same audio as another one, its leader, whose prediction could stand for both."""

    track_id: int
    path: bytes  # Absolute.
    leader_id: int
    leader_path: bytes  # Absolute.


def find_duplicate_candidates(connection: Connection, analysis: Analysis, page: Page) -> list[DuplicateCandidate]:
    """The run's pending tracks of the page whose audio hash another track has, too.

    Each comes with its leader: the track among those of the same hash that is analysed, or nearest to it.
    """
    prefer_indexes(connection)
    of_analysis = (analysis.model_id, analysis.coverage)
    twins = _select_twins(connection, read_track_ids(connection, page)).all()
    predictions = _select_predictions(connection, *of_analysis, [twin.id for twin in twins])
    pending_ids = {row.track_id for row in predictions if _is_pending(row, analysis.run_id)}
    pending = [twin for twin in twins if twin.id in pending_ids]
    if not pending:
        return []
    found = _select_leaders(connection, *of_analysis, sorted({twin.audio_hash for twin in pending}))
    leaders = {leader.audio_hash: leader for leader in found}
    pairs = [(twin, leaders[twin.audio_hash]) for twin in pending if twin.audio_hash in leaders]
    return [
        DuplicateCandidate(twin.id, twin.root + b"/" + twin.path, leader.id, leader.root + b"/" + leader.path)
        for twin, leader in pairs
        if twin.id != leader.id
    ]


@prepared
def _select_twins(track_ids: Sequence[int]) -> Select[int | None, int, bytes, bytes]:
    """Those of the tracks that are there, and not alone with their hash."""
    other = aliased(Track)
    has_twin = exists().where(other.audio_hash == Track.audio_hash, other.id != Track.id)
    return (
        select(Track.audio_hash, Track.id, Library.root, Track.path)
        .join(Library, Library.id == Track.library_id)
        .where(Track.id.in_(track_ids), Track.missing_since.is_(None), has_twin)
        .order_by(Track.id)
    )


@prepared
def _select_predictions(model_id: int, coverage: str, track_ids: Sequence[int]) -> Select[int, int, int, str]:
    """The predictions of these tracks. Whose they are is not asked for here: SQLite would read all of the run's."""
    return select(Prediction.id, Prediction.track_id, Prediction.run_id, Prediction.status).where(
        Prediction.track_id.in_(track_ids), Prediction.model_id == model_id, Prediction.coverage == coverage
    )


def _is_pending(prediction: Row[int, int, int, str], run_id: int) -> bool:
    return bool(prediction.run_id == run_id and prediction.status == PredictionStatus.PENDING)


@prepared
def _select_leaders(model_id: int, coverage: str, hashes: Sequence[int]) -> Select[int | None, int, bytes, bytes]:
    """The leader of the tracks of each hash. Its file is there, and holds the audio that its prediction is about."""
    preference = case({status.value: place for place, status in enumerate(LEADING_STATUSES)}, value=Prediction.status)
    place = func.row_number().over(partition_by=Track.audio_hash, order_by=(preference, Track.id))
    ranked = (
        select(Track.audio_hash, Track.id, Library.root, Track.path, place.label("place"))
        .join(Prediction, Prediction.track_id == Track.id)
        .join(Library, Library.id == Track.library_id)
        .where(
            Track.audio_hash.in_(hashes),
            Track.missing_since.is_(None),
            Prediction.model_id == model_id,
            Prediction.coverage == coverage,
            Prediction.status.in_(LEADING_STATUSES),
            Prediction.audio_hash == Track.audio_hash,
        )
        .subquery()
    )
    return select(ranked.c.audio_hash, ranked.c.id, ranked.c.root, ranked.c.path).where(ranked.c.place == 1)


def mark_duplicates(
    connection: Connection, analysis: Analysis, duplicates: Iterable[DuplicateCandidate], moment: datetime
) -> None:
    """Let the predictions of the leaders stand for these tracks of the run, with the leaders' scores if they are done.

    What has changed meanwhile stays as it is: tracks that are not pending any more or lead others by now, and those
    whose leader failed. Workers that end a leader wait until the transaction ends.
    """
    prefer_indexes(connection)
    of_analysis = (analysis.model_id, analysis.coverage)
    leader_ids = {duplicate.track_id: duplicate.leader_id for duplicate in duplicates}
    track_ids = sorted({*leader_ids, *leader_ids.values()})
    locked = {row.track_id: row for row in _lock_predictions(connection, *of_analysis, track_ids)}
    leading = set(_select_leading(connection, *of_analysis, track_ids).scalars())
    pairs = [
        (locked[leader_id], locked[track_id])
        for track_id, leader_id in leader_ids.items()
        if _is_pending(locked[track_id], analysis.run_id)
        and track_id not in leading
        and locked[leader_id].status in LEADING_STATUSES
    ]
    _mark_duplicates(connection, [{"of_id": own.id, "leader_id": leader.track_id} for leader, own in pairs])
    done = [(leader.id, own.id) for leader, own in pairs if leader.status == PredictionStatus.DONE]
    if done:
        copy_scores(connection, done, moment)


@prepared
def _lock_predictions(model_id: int, coverage: str, track_ids: Sequence[int]) -> Select[int, int, int, str]:
    return (
        select(Prediction.id, Prediction.track_id, Prediction.run_id, Prediction.status)
        .where(Prediction.track_id.in_(track_ids), Prediction.model_id == model_id, Prediction.coverage == coverage)
        .order_by(Prediction.track_id)
        .with_for_update()
    )


@prepared
def _select_leading(model_id: int, coverage: str, track_ids: Sequence[int]) -> Select[int | None]:
    """Those of the tracks that stand for others."""
    return (
        select(Prediction.duplicate_of)
        .where(
            Prediction.duplicate_of.in_(track_ids),
            Prediction.model_id == model_id,
            Prediction.coverage == coverage,
        )
        .distinct()
    )


@prepared_many
def _mark_duplicates() -> Update:
    return (
        update(Prediction)
        .where(Prediction.id == bindparam("of_id"))
        .values(status=PredictionStatus.DUPLICATE, duplicate_of=bindparam("leader_id"))
    )


def free_duplicates(connection: Connection, prediction_ids: Sequence[int]) -> None:
    """Let duplicates be analysed themselves, by these predictions. Reopen the runs that were closed with them."""
    if prediction_ids:
        forget_scores(connection, prediction_ids)
        _reset_duplicates(connection, prediction_ids)
        _reopen_runs(connection, prediction_ids)


@prepared
def _reset_duplicates(prediction_ids: Sequence[int]) -> Update:
    reset = {"status": PredictionStatus.PENDING, "duplicate_of": None, "job_id": None}
    return update(Prediction).where(Prediction.id.in_(prediction_ids)).values(**reset)


@prepared
def _reopen_runs(prediction_ids: Sequence[int]) -> Update:
    runs = select(Prediction.run_id).where(Prediction.id.in_(prediction_ids))
    return update(Run).where(Run.id.in_(runs)).values(finished_at=None)
