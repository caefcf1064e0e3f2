"""The probabilities of predictions: ranked, stored, and copied for duplicates.

SQLite has a row for each score, in the table `score_row`. The rows of a genre lie side by side, so that its most
probable tracks are found in one sweep. PostgreSQL has two arrays in each prediction, since a row of its own would take
more room there than ten scores in an array. The view `score` shows both as rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from typing import TypedDict

from sqlalchemy import (
    ARRAY,
    REAL,
    Connection,
    Delete,
    Insert,
    Select,
    SmallInteger,
    Text,
    Update,
    bindparam,
    cast,
    column,
    delete,
    insert,
    select,
    table,
    text,
    update,
)

from db.prepared import prepared, prepared_many
from db.ranking import Label, Scores
from db.tables import Embedding, Genre, Prediction

MAX_ROWS_PER_STATEMENT = 1000  # SQLite takes 32,766 values in a statement, and a score has four.
MILLION = 1_000_000  # SQLite stores probabilities in millionths: such an integer takes 3 bytes, and a float 8.

# PostgreSQL's table with its two columns that SQLite does not have.
_WITH_ARRAYS = table(
    "prediction",
    *(column(name, known.type) for name, known in Prediction.__table__.columns.items()),
    column("probabilities", ARRAY(REAL)),
    column("ranks", ARRAY(SmallInteger)),
)

# SQLite's table, which PostgreSQL does not have.
_ROWS = table("score_row", column("genre_id"), column("prediction_id"))


class EndedPrediction(TypedDict):
    """How a prediction ended. Besides the first, the fields are columns of the table `prediction`."""

    of_prediction: int
    status: str
    is_newest: bool
    first_genre_id: int | None
    first_probability: float | None
    error_code: str | None
    error_detail: str | None
    windows: int
    device: str
    amp: bool
    elapsed_ms: float | None
    finished_at: datetime


def read_labels(connection: Connection, model_id: int) -> tuple[Label, ...]:
    """The labels of a model, in the order of their positions."""
    return tuple(Label(*row) for row in _select_labels(connection, model_id))


@prepared
def _select_labels(model_id: int) -> Select[int, int, str]:
    return select(Genre.id, Genre.position, Genre.kind).where(Genre.model_id == model_id).order_by(Genre.position)


def store_predictions(connection: Connection, rows: Sequence[EndedPrediction], scores: Mapping[int, Scores]) -> None:
    """Store how predictions ended.

    scores: those of the predictions that have scores, by id.
    """
    if connection.dialect.name == "postgresql":
        _update_predictions_with_arrays(connection, [row | _arrays(scores.get(row["of_prediction"])) for row in rows])
    else:
        _update_predictions(
            connection, [row | {"first_probability": _stored(row["first_probability"])} for row in rows]
        )
        _insert_rows(connection, scores)


def _stored(probability: float | None) -> float | None:
    """The probability as SQLite has it in millionths."""
    return None if probability is None else round(probability * MILLION) / MILLION


def _arrays(scores: Scores | None) -> dict[str, str | None]:
    """PostgreSQL's arrays as text, in which a score stands at the position of its label.

    PostgreSQL reads numbers from one text in less time than psycopg takes to send them one by one.
    """
    if scores is None:
        return {"probabilities": None, "ranks": None}
    probabilities = ["NULL"] * max(scores.positions, default=0)
    ranks = probabilities.copy()
    for position, probability, rank in zip(scores.positions, scores.probabilities, scores.ranks, strict=True):
        probabilities[position - 1], ranks[position - 1] = repr(probability), str(rank)
    return {"probabilities": f"{{{','.join(probabilities)}}}", "ranks": f"{{{','.join(ranks)}}}"}


END_COLUMNS = tuple(name for name in EndedPrediction.__annotations__ if name != "of_prediction")


@prepared_many
def _update_predictions() -> Update:
    values: dict[str, object] = {name: bindparam(name) for name in END_COLUMNS}
    return update(Prediction).where(Prediction.id == bindparam("of_prediction")).values(**values)


@prepared_many
def _update_predictions_with_arrays() -> Update:
    values: dict[str, object] = {name: bindparam(name) for name in END_COLUMNS}
    for name in ("probabilities", "ranks"):
        values[name] = cast(bindparam(name, type_=Text), _WITH_ARRAYS.c[name].type)
    return update(_WITH_ARRAYS).where(_WITH_ARRAYS.c.id == bindparam("of_prediction")).values(**values)


def _insert_rows(connection: Connection, scores: Mapping[int, Scores]) -> None:
    """Store scores as rows, in SQLite.

    This is plain SQL instead of a prepared statement of SQLAlchemy: a statement with many rows is executed faster than
    one that is executed for each row, and sqlite3 lets another thread run after each execution.
    """
    rows = [
        (genre_id, prediction_id, round(probability * MILLION), rank)
        for prediction_id, its in scores.items()
        for genre_id, probability, rank in zip(its.genre_ids, its.probabilities, its.ranks, strict=True)
    ]
    rows.sort()  # In the order of the table, so that neighbours are written one after the other.
    for start in range(0, len(rows), MAX_ROWS_PER_STATEMENT):
        chunk = rows[start : start + MAX_ROWS_PER_STATEMENT]
        connection.exec_driver_sql(_insert_rows_sql(len(chunk)), tuple(chain.from_iterable(chunk)))


@cache
def _insert_rows_sql(rows: int) -> str:
    """The statement that stores so many scores."""
    values = ", ".join(["(?, ?, ?, ?)"] * rows)
    return f"INSERT OR REPLACE INTO score_row (genre_id, prediction_id, millionths, rank) VALUES {values}"


def forget_scores(connection: Connection, prediction_ids: Sequence[int]) -> None:
    """Delete what an analysis has stored of these predictions, which are about to be made anew."""
    _delete_embeddings(connection, prediction_ids)
    if connection.dialect.name == "postgresql":
        _clear_arrays(connection, prediction_ids)
    else:
        _clear_first(connection, prediction_ids)
        _delete_all_rows(connection, prediction_ids)


_NO_FIRST: dict[str, object] = {"is_newest": False, "first_genre_id": None, "first_probability": None}


@prepared
def _clear_arrays(prediction_ids: Sequence[int]) -> Update:
    cleared = _NO_FIRST | {"probabilities": None, "ranks": None}
    return update(_WITH_ARRAYS).where(_WITH_ARRAYS.c.id.in_(prediction_ids)).values(**cleared)


@prepared
def _clear_first(prediction_ids: Sequence[int]) -> Update:
    return update(Prediction).where(Prediction.id.in_(prediction_ids)).values(**_NO_FIRST)


@prepared
def _delete_all_rows(prediction_ids: Sequence[int]) -> Delete:
    models = select(Prediction.model_id).where(Prediction.id.in_(prediction_ids))
    genres = select(Genre.id).where(Genre.model_id.in_(models))
    return delete(_ROWS).where(_ROWS.c.genre_id.in_(genres), _ROWS.c.prediction_id.in_(prediction_ids))


def store_embeddings(connection: Connection, vectors: Mapping[int, bytes | None]) -> None:
    """Store the embeddings of these predictions, by id. None: there is none."""
    rows = [{"prediction_id": id_, "vector": vector} for id_, vector in vectors.items() if vector is not None]
    _insert_embeddings(connection, rows)


@prepared
def _delete_embeddings(prediction_ids: Sequence[int]) -> Delete:
    return delete(Embedding).where(Embedding.prediction_id.in_(prediction_ids))


@prepared_many
def _insert_embeddings() -> Insert:
    return insert(Embedding)


def copy_scores(connection: Connection, pairs: Sequence[tuple[int, int]], moment: datetime) -> None:
    """Let duplicates have the scores of their originals.

    pairs: the prediction of an original, which is done, and that of its duplicate, by id.
    """
    if not pairs:
        return
    rows = [{"original": original, "duplicate": duplicate, "moment": moment} for original, duplicate in pairs]
    clear_newest(connection, [duplicate for _, duplicate in pairs])
    if connection.dialect.name == "postgresql":
        connection.execute(_COPY_ARRAYS, rows)
    else:
        connection.execute(_COPY_ROWS, rows)
        connection.execute(_COPY_FIRST, rows)


_MOMENT = bindparam("moment", type_=Prediction.__table__.columns["finished_at"].type)
_COPY_ROWS = text("""
    INSERT OR REPLACE INTO score_row (genre_id, prediction_id, millionths, rank)
    SELECT genre_id, :duplicate, millionths, rank FROM score_row
    WHERE prediction_id = :original AND genre_id IN (
        SELECT genre.id FROM genre JOIN prediction ON prediction.model_id = genre.model_id
        WHERE prediction.id = :original
    )
""")
_COPY = """
    UPDATE prediction
    SET is_newest = true, finished_at = :moment, first_genre_id = original.first_genre_id,
        first_probability = original.first_probability {arrays}
    FROM prediction AS original
    WHERE prediction.id = :duplicate AND original.id = :original
"""
_COPY_FIRST = text(_COPY.format(arrays="")).bindparams(_MOMENT)
_COPY_ARRAYS = text(_COPY.format(arrays=", probabilities = original.probabilities, ranks = original.ranks")).bindparams(
    _MOMENT
)


def clear_newest(connection: Connection, prediction_ids: Sequence[int]) -> None:
    """Let these predictions become the newest of their tracks: no other one of the same tracks is any more."""
    if prediction_ids:  # SQLAlchemy makes a condition that always holds of `IN ()` and `NOT IN ()` with one parameter.
        _clear_newest(connection, prediction_ids)


@prepared
def _clear_newest(prediction_ids: Sequence[int]) -> Update:
    tracks = select(Prediction.track_id).where(Prediction.id.in_(prediction_ids))
    return (
        update(Prediction)
        .where(Prediction.track_id.in_(tracks), Prediction.is_newest, Prediction.id.not_in(prediction_ids))
        .values(is_newest=False)
    )
