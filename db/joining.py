"""Two tracks that turn out to be the same file become one, which keeps what is known of both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, RowMapping, Select, Update, bindparam, select, update

from db.filters import SCORED
from db.forget import delete_predictions, delete_track_rows, lock_predictions
from db.prepared import prepared, prepared_many
from db.runs import finish_runs
from db.statistics import prefer_indexes
from db.tables import OPEN_STATUSES, Prediction, PredictionStatus, Track
from db.tracks import FACTS

SEEN_COLUMNS = (*(name for name in FACTS if name != "path"), "last_seen_at", "missing_since")  # What a scan has seen.

AnyRow = Row[*tuple[Any, ...]]
Predictions = dict[tuple[int, str], AnyRow]  # Those of a track, by model and coverage.


class Pair(NamedTuple):
    """Two tracks of the same file."""

    source_id: int
    target_id: int  # Its library and its path stay.


def join_tracks(connection: Connection, pairs: Sequence[Pair], moment: datetime) -> None:
    """Let the two tracks of each pair be one.

    The target's row stays, unless only the source is analysed. It keeps the better prediction of each analysis, and
    has the facts of the track that a scan saw last.
    """
    if not pairs:
        return
    prefer_indexes(connection)
    ids = sorted(id for pair in pairs for id in pair)
    predictions: dict[int, Predictions] = defaultdict(dict)
    for row in lock_predictions(connection, ids):
        predictions[row.track_id][row.model_id, row.coverage] = row
    kept = [_choose(pair, predictions) for pair in pairs]
    lost: list[int] = []
    moved: list[dict[str, int]] = []
    for kept_id, dropped_id in kept:
        for analysis, dropped in predictions[dropped_id].items():
            own = predictions[kept_id].get(analysis)
            if own is not None and _rank(own, dropped_id) <= _rank(dropped, kept_id):
                lost.append(dropped.id)
            else:
                lost += [] if own is None else [own.id]
                moved.append({"of_id": dropped.id, "kept_id": kept_id})
    delete_predictions(connection, lost)
    _move_predictions(connection, moved)
    _redirect_duplicates(connection, [{"kept_id": kept_id, "dropped_id": dropped_id} for kept_id, dropped_id in kept])
    tracks = {row["id"]: row for row in _select_tracks(connection, ids).mappings()}
    delete_track_rows(connection, [dropped_id for _, dropped_id in kept])
    joined = [_join_rows(tracks, *ids_, pair.target_id) for ids_, pair in zip(kept, pairs, strict=True)]
    _update_tracks(connection, joined)
    _choose_newest(connection, [kept_id for kept_id, _ in kept])
    finish_runs(connection, moment)


def _choose(pair: Pair, predictions: dict[int, Predictions]) -> tuple[int, int]:
    """The track of the pair that stays, and the one that is deleted."""
    source_is_done, target_is_done = (
        any(row.status == PredictionStatus.DONE for row in predictions[id].values()) for id in pair
    )
    is_source = source_is_done and not target_is_done
    return (pair.source_id, pair.target_id) if is_source else (pair.target_id, pair.source_id)


def _rank(prediction: AnyRow, other_track_id: int) -> int:
    """How little a prediction tells. One for which that of the other track stands tells least."""
    if prediction.status == PredictionStatus.DONE:
        return 0
    if prediction.status == PredictionStatus.DUPLICATE:
        return 4 if prediction.duplicate_of == other_track_id else 1
    return 2 if prediction.status in OPEN_STATUSES else 3


def _join_rows(tracks: dict[int, RowMapping], kept_id: int, dropped_id: int, target_id: int) -> dict[str, object]:
    """The row of a track that stays."""
    kept, dropped, target = tracks[kept_id], tracks[dropped_id], tracks[target_id]
    last = max(kept, dropped, key=lambda row: (row["missing_since"] is None, row["last_seen_at"]))
    seen = {name: last[name] for name in SEEN_COLUMNS}
    first_seen_at = min(kept["first_seen_at"], dropped["first_seen_at"])
    place = {"library_id": target["library_id"], "path": target["path"]}
    return {"kept_id": kept["id"], "first_seen_at": first_seen_at, **place, **seen}


@prepared_many
def _move_predictions() -> Update:
    return update(Prediction).where(Prediction.id == bindparam("of_id")).values(track_id=bindparam("kept_id"))


@prepared_many
def _redirect_duplicates() -> Update:
    return (
        update(Prediction)
        .where(Prediction.duplicate_of == bindparam("dropped_id"))
        .values(duplicate_of=bindparam("kept_id"))
    )


@prepared
def _select_tracks(track_ids: Sequence[int]) -> Select[*tuple[Any, ...]]:
    columns = ("id", "library_id", "path", "first_seen_at", *SEEN_COLUMNS)
    return select(*(getattr(Track, name) for name in columns)).where(Track.id.in_(track_ids))


@prepared_many
def _update_tracks() -> Update:
    columns = ("library_id", "path", "first_seen_at", *SEEN_COLUMNS)
    values: dict[str, object] = {name: bindparam(name) for name in columns}
    return update(Track).where(Track.id == bindparam("kept_id")).values(**values)


def _choose_newest(connection: Connection, track_ids: Sequence[int]) -> None:
    """Let the prediction with scores that was ordered last be the newest one of each of these tracks."""
    newest: dict[int, tuple[int, int]] = {}
    for id, track_id, run_id in _select_scored(connection, track_ids):
        newest[track_id] = max(newest.get(track_id, (0, 0)), (run_id, id))
    if newest:
        _clear_newest(connection, sorted(newest))
        _set_newest(connection, sorted(id for _, id in newest.values()))


@prepared
def _select_scored(track_ids: Sequence[int]) -> Select[int, int, int]:
    return select(Prediction.id, Prediction.track_id, Prediction.run_id).where(
        Prediction.track_id.in_(track_ids), Prediction.status.in_(SCORED)
    )


@prepared
def _clear_newest(track_ids: Sequence[int]) -> Update:
    return update(Prediction).where(Prediction.track_id.in_(track_ids), Prediction.is_newest).values(is_newest=False)


@prepared
def _set_newest(prediction_ids: Sequence[int]) -> Update:
    return update(Prediction).where(Prediction.id.in_(prediction_ids)).values(is_newest=True)
