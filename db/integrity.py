"""What can be wrong with a database, found by looking at all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, column, exists, func, inspect, select, table
from sqlalchemy.exc import DatabaseError

from db import revisions
from db.runs import count_run
from db.session import Database
from db.tables import Base, Run
from settings import GenremillError


@dataclass(frozen=True)
class Relation:
    """Rows of one table that belong to rows of another one: their columns have the values of the parent's columns.

    A row with a NULL in one of the columns belongs to no parent.
    """

    child: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


# Relations that the tables do not declare as foreign keys, so that the database does not watch over them.
UNDECLARED_RELATIONS = (
    Relation("embedding", ("prediction_id",), "prediction", ("id",)),
    Relation("prediction", ("first_genre_id",), "genre", ("id",)),
    Relation("score_row", ("prediction_id",), "prediction", ("id",)),  # A table that only SQLite has.
    Relation("score_row", ("genre_id",), "genre", ("id",)),
)


def list_relations() -> list[Relation]:
    """All relations between our tables: their foreign keys, and UNDECLARED_RELATIONS."""
    declared = [
        Relation(
            child.name,
            tuple(element.parent.name for element in key.elements),
            key.referred_table.name,
            tuple(element.column.name for element in key.elements),
        )
        for child in Base.metadata.sorted_tables
        for key in sorted(child.foreign_key_constraints, key=lambda key: tuple(key.column_keys))
    ]
    return [*declared, *UNDECLARED_RELATIONS]


def count_orphans(connection: Connection, relations: Sequence[Relation]) -> dict[Relation, int]:
    """How many rows of each relation's child have no parent. Relations without such rows are left out."""
    tables = inspect(connection).get_table_names()
    counts = {relation: _count_orphans(connection, relation) for relation in relations if relation.child in tables}
    return {relation: count for relation, count in counts.items() if count}


def _count_orphans(connection: Connection, relation: Relation) -> int:
    child = table(relation.child, *map(column, relation.columns)).alias("child")
    parent = table(relation.parent, *map(column, relation.parent_columns)).alias("parent")
    own = [child.c[name] for name in relation.columns]
    same = [parent.c[name] == value for name, value in zip(relation.parent_columns, own, strict=True)]
    belongs = and_(*(value.is_not(None) for value in own))
    has_parent = exists().where(*same).select_from(parent)
    return connection.execute(select(func.count()).select_from(child).where(belongs, ~has_parent)).scalar_one()


def find_problems(database: Database) -> Iterator[str]:
    """What is wrong with the database, in one line each.

    The later checks rely on what the first ones have found to be right, so the first kind of problem is the last.
    """
    try:
        for check in (_check_file, _check_revision, _check_rows):
            problems = check(database)
            yield from problems
            if problems:
                return
    except DatabaseError as error:
        yield f"the database cannot be read: {str(error.orig).strip().splitlines()[0]}"


def _check_file(database: Database) -> list[str]:
    """SQLite's own check of its file. PostgreSQL has none that everybody may use."""
    if database.file is None:
        return []
    with database.read() as connection:
        lines = connection.exec_driver_sql("PRAGMA quick_check").scalars().all()
    return [f"SQLite: {line}" for answer in lines for line in str(answer).splitlines() if line != "ok"]


def _check_revision(database: Database) -> list[str]:
    try:
        with database.read() as connection:
            revisions.require_newest(connection)
    except GenremillError as error:
        return [str(error)]
    return []


def _check_rows(database: Database) -> list[str]:
    with database.read_snapshot() as connection:
        return [*_find_unbalanced_runs(connection), *_find_orphans(connection)]


def _find_unbalanced_runs(connection: Connection) -> Iterator[str]:
    for run_id in connection.execute(select(Run.id).order_by(Run.id)).scalars().all():
        counts = count_run(connection, run_id)
        if not counts.balanced:
            parts = {name: value for name, value in vars(counts).items() if value and name != "found"}
            total = " + ".join(f"{value} {name}" for name, value in parts.items()) or "0"
            yield f"run {run_id}: {counts.found} tracks were found, but {total} = {sum(parts.values())}"


def _find_orphans(connection: Connection) -> Iterator[str]:
    for relation, count in count_orphans(connection, list_relations()).items():
        columns = ", ".join(relation.columns)
        yield f"{relation.child}: {count} rows whose {relation.parent} is gone ({columns})"
