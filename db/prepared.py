"""Decorators that turn the builder of an SQL statement into the function that executes it.

Every statement of this package that is executed often is such a function, named by a verb and a noun. SQLAlchemy takes
about ten times as long to build a statement as SQLite takes to execute it, so each one is built only once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVarTuple, overload

from sqlalchemy import Connection, CursorResult, Executable, UpdateBase, bindparam
from sqlalchemy.sql.selectable import TypedReturnsRows

PREFIX = "value_of_"  # Tells a placeholder's name from those of columns, which SQLAlchemy keeps for itself in UPDATE.

Arguments = ParamSpec("Arguments")
Columns = TypeVarTuple("Columns")


@overload
def prepared(
    build: Callable[Arguments, TypedReturnsRows[*Columns]],
) -> Callable[Concatenate[Connection, Arguments], CursorResult[*Columns]]: ...
@overload
def prepared(
    build: Callable[Arguments, UpdateBase],
) -> Callable[Concatenate[Connection, Arguments], CursorResult[*tuple[Any, ...]]]: ...
def prepared(build: Callable[..., Executable]) -> Callable[..., CursorResult[*tuple[Any, ...]]]:
    """Turn a function that builds a statement into one that executes it on a connection.

    The statement is built on the first call, from placeholders instead of arguments. So the builder may only put its
    arguments into SQL expressions: it can neither look at their values nor compute with them in Python.

        @prepared
        def select_title(track_id: int) -> Select[str | None]:
            return select(Track.title).where(Track.id == track_id)

        title = select_title(connection, 17).scalar_one()
    """
    names = [PREFIX + name for name in inspect.signature(build).parameters]

    @cache
    def statement() -> Executable:
        return build(*map(bindparam, names))

    @wraps(build)
    def execute(connection: Connection, *values: object, **named: object) -> CursorResult[*tuple[Any, ...]]:
        parameters = dict(zip(names, values, strict=not named))
        parameters.update((PREFIX + name, value) for name, value in named.items())
        return connection.execute(statement(), parameters)

    return execute


def prepared_many(build: Callable[[], UpdateBase]) -> Callable[[Connection, Sequence[Mapping[str, object]]], None]:
    """Turn a function that builds a statement into one that executes it for each of many rows.

    The builder names its placeholders itself. A row has a value for each of them, by its name. Without rows nothing is
    executed.

        @prepared_many
        def update_titles() -> Update:
            return update(Track).where(Track.id == bindparam("track_id")).values(title=bindparam("new_title"))

        update_titles(connection, [{"track_id": 17, "new_title": "So What"}])
    """
    statement = cache(build)

    @wraps(build)
    def execute(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
        if rows:
            connection.execute(statement(), rows)

    return execute


def read_inserted_id(result: CursorResult[*tuple[Any, ...]]) -> int:
    """The id that the database gave to the one row of an INSERT."""
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])
