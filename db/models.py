"""Models and their genres, as rows."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Insert, Select, Update, insert, select, update
from sqlalchemy.exc import IntegrityError

from db.prepared import prepared, prepared_many, read_inserted_id
from db.tables import Genre, Model


def put_model(connection: Connection, name: str, version: str, weights_sha256: str) -> int:
    """The id of this model, which is entered if it is new."""
    identity = (name, version, weights_sha256)
    model_id = _select_model(connection, *identity).scalar()
    if model_id is not None:
        return model_id
    try:
        with connection.begin_nested():
            return read_inserted_id(_insert_model(connection, *identity))
    except IntegrityError:  # Another producer has entered it in the meantime.
        return _select_model(connection, *identity).scalar_one()


@prepared
def _select_model(name: str, version: str, weights_sha256: str) -> Select[int]:
    return select(Model.id).where(Model.name == name, Model.version == version, Model.weights_sha256 == weights_sha256)


@prepared
def _insert_model(name: str, version: str, weights_sha256: str) -> Insert:
    return insert(Model).values(name=name, version=version, weights_sha256=weights_sha256)


def put_genres(
    connection: Connection, model_id: int, genres: Iterable[tuple[str, str]], features: str
) -> dict[str, int]:
    """The ids of a model's genres by name. Those that are new are entered, and the model's features, too.

    genres: the name and the kind of each genre. features: how the model's spectrograms are computed, as JSON.
    """
    _update_features(connection, model_id, features)
    known = dict(_select_genres(connection, model_id).all())
    unknown = ((name, kind) for name, kind in genres if name not in known)
    new = [
        {"model_id": model_id, "position": position, "name": name, "kind": kind}
        for position, (name, kind) in enumerate(unknown, len(known) + 1)
    ]
    _insert_genres(connection, new)
    return dict(_select_genres(connection, model_id).all()) if new else known


@prepared
def _update_features(model_id: int, features: str) -> Update:
    return update(Model).where(Model.id == model_id).values(features=features)


@prepared
def _select_genres(model_id: int) -> Select[str, int]:
    return select(Genre.name, Genre.id).where(Genre.model_id == model_id)


@prepared_many
def _insert_genres() -> Insert:
    return insert(Genre)
