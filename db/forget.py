"""Tracks that are forgotten: they are deleted with their predictions, scores and embeddings.

A prediction that is deleted may stand for duplicates elsewhere. If it is done, one of them takes its place and stands
for the others. Otherwise they become pending, so that the next run analyses one of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    Connection,
    Delete,
    Row,
    Select,
    Update,
    and_,
    bindparam,
    column,
    delete,
    select,
    table,
    text,
    update,
)
from sqlalchemy.orm import aliased

from db.duplicates import free_duplicates
from db.prepared import prepared, prepared_many
from db.runs import finish_runs
from db.statistics import prefer_indexes
from db.tables import Embedding, Genre, Prediction, PredictionStatus, Run, Track


def delete_tracks(connection: Connection, track_ids: Sequence[int], moment: datetime) -> None:
    """Delete these tracks and all that belongs to them. Runs have so many tracks less."""
    if not track_ids:
        return
    prefer_indexes(connection)
    prediction_ids = [row.id for row in lock_predictions(connection, track_ids)]
    delete_predictions(connection, prediction_ids)
    left = _select_duplicates_of_tracks(connection, track_ids).all()  # Their leaders had no prediction of their kind.
    free_duplicates(connection, [id for id, _ in left])
    delete_track_rows(connection, track_ids)
    finish_runs(connection, moment)


@prepared
def lock_predictions(
    track_ids: Sequence[int],
) -> Select[int, int, int, str, str, int | None, int]:
    """The predictions of these tracks. Workers that end some of them wait until the transaction ends."""
    return (
        select(
            Prediction.id,
            Prediction.track_id,
            Prediction.model_id,
            Prediction.coverage,
            Prediction.status,
            Prediction.duplicate_of,
            Prediction.run_id,
        )
        .where(Prediction.track_id.in_(track_ids))
        .order_by(Prediction.track_id, Prediction.id)
        .with_for_update()
    )


@prepared
def delete_track_rows(track_ids: Sequence[int]) -> Delete:
    """Delete tracks of which nothing is known any more."""
    return delete(Track).where(Track.id.in_(track_ids))


@prepared
def _select_duplicates_of_tracks(track_ids: Sequence[int]) -> Select[int, int]:
    return select(Prediction.id, Prediction.run_id).where(Prediction.duplicate_of.in_(track_ids))


def delete_predictions(connection: Connection, prediction_ids: Sequence[int]) -> None:
    """Delete these predictions, which have to be locked, with their scores and embeddings. Release their duplicates."""
    if not prediction_ids:
        return
    _release_duplicates(connection, prediction_ids)
    of_runs = Counter(_select_run_ids(connection, prediction_ids).scalars())
    _subtract_found(connection, [{"of_run": run_id, "fewer": count} for run_id, count in sorted(of_runs.items())])
    if connection.dialect.name == "sqlite":
        _delete_score_rows(connection, prediction_ids)
    _delete_embeddings(connection, prediction_ids)
    _delete_predictions(connection, prediction_ids)


def _release_duplicates(connection: Connection, prediction_ids: Sequence[int]) -> None:
    """Let the duplicates of these predictions, as far as they are not among them, get along without them."""
    by_leader = defaultdict(list)
    for row in _select_duplicates(connection, prediction_ids):
        by_leader[row.leader_id].append(row)
    heirs, followers = [], []
    freed: list[Row[*tuple[object, ...]]] = []
    for leader_id, rows in by_leader.items():
        able = [row for row in rows if _can_inherit(row)]
        freed += [row for row in rows if not _can_inherit(row)]
        if able:
            heirs.append({"leader": leader_id, "heir": able[0].id})
            followers += [{"of_id": row.id, "heir_track_id": able[0].track_id} for row in able[1:]]
    if heirs:
        _delete_embeddings(connection, [pair["heir"] for pair in heirs])
        connection.execute(_INHERIT, heirs)
        _move_embeddings(connection, heirs)
    _follow_heirs(connection, followers)
    free_duplicates(connection, [row.id for row in freed])


def _can_inherit(row: Row[*tuple[object, ...]]) -> bool:
    """Whether a duplicate has the scores of its leader, and both are about the same audio."""
    return bool(
        row.leader_status == PredictionStatus.DONE and row.leader_hash == row.audio_hash and row.finished_at is not None
    )


@prepared
def _select_duplicates(prediction_ids: Sequence[int]) -> Select[*tuple[object, ...]]:
    leader, duplicate = aliased(Prediction), aliased(Prediction)
    stands_for = and_(
        duplicate.duplicate_of == leader.track_id,
        duplicate.model_id == leader.model_id,
        duplicate.coverage == leader.coverage,
        duplicate.status == PredictionStatus.DUPLICATE,
    )
    return (
        select(
            leader.id.label("leader_id"),
            leader.status.label("leader_status"),
            leader.audio_hash.label("leader_hash"),
            duplicate.id,
            duplicate.track_id,
            duplicate.run_id,
            duplicate.audio_hash,
            duplicate.finished_at,
        )
        .join(duplicate, stands_for)
        .where(leader.id.in_(prediction_ids), duplicate.id.not_in(prediction_ids))
        .order_by(duplicate.track_id)
        .with_for_update(of=duplicate)
    )


# A duplicate has the scores of its leader already. What else is known of the analysis is copied.
_INHERIT = text("""
    UPDATE prediction
    SET status = 'done', duplicate_of = NULL, windows = leader.windows, device = leader.device, amp = leader.amp,
        elapsed_ms = leader.elapsed_ms
    FROM prediction AS leader
    WHERE prediction.id = :heir AND leader.id = :leader
""")


@prepared_many
def _move_embeddings() -> Update:
    return (
        update(Embedding).where(Embedding.prediction_id == bindparam("leader")).values(prediction_id=bindparam("heir"))
    )


@prepared_many
def _follow_heirs() -> Update:
    return update(Prediction).where(Prediction.id == bindparam("of_id")).values(duplicate_of=bindparam("heir_track_id"))


@prepared
def _select_run_ids(prediction_ids: Sequence[int]) -> Select[int]:
    return select(Prediction.run_id).where(Prediction.id.in_(prediction_ids))


@prepared_many
def _subtract_found() -> Update:
    return update(Run).where(Run.id == bindparam("of_run")).values(found=Run.found - bindparam("fewer"))


_SCORE_ROWS = table("score_row", column("genre_id"), column("prediction_id"))  # Of SQLite.


@prepared
def _delete_score_rows(prediction_ids: Sequence[int]) -> Delete:
    """Each score is found by its key, which begins with the label."""
    labels = select(Genre.id)
    return delete(_SCORE_ROWS).where(
        _SCORE_ROWS.c.genre_id.in_(labels), _SCORE_ROWS.c.prediction_id.in_(prediction_ids)
    )


@prepared
def _delete_embeddings(prediction_ids: Sequence[int]) -> Delete:
    return delete(Embedding).where(Embedding.prediction_id.in_(prediction_ids))


@prepared
def _delete_predictions(prediction_ids: Sequence[int]) -> Delete:
    return delete(Prediction).where(Prediction.id.in_(prediction_ids))
