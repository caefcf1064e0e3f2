"""Which rows of a database a piece of code changes."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select

from db.session import Database
from db.tables import Base

# By table and key; a row by the names of its columns. A prediction is found by its track, model and coverage.
Rows = dict[tuple[object, ...], dict[str, object]]
KEYS = {
    "prediction": ("track_id", "model_id", "coverage")
}  # Of tables whose rows tests know by something else than id.
SCORES = "SELECT track_id, model_id, coverage, genre_id, probability, rank FROM score"


@contextmanager
def changes(database: Database) -> Iterator[Rows]:
    """A dict that is filled at the end: of each row that was changed, the columns that were, with their new values.

    A new row has all its columns, and a row that was deleted has none.
    """
    before, changed = read_all(database), {}
    yield changed
    after = read_all(database)
    for key in before.keys() | after.keys():
        old, new = before.get(key, {}), after.get(key, {})
        if old != new:
            changed[key] = {name: value for name, value in new.items() if name not in old or old[name] != value}


def read_all(database: Database) -> Rows:
    """All rows of all tables."""
    rows: Rows = {}
    with database.read() as connection:
        for table in Base.metadata.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                key = tuple(row[name] for name in KEYS.get(table.name, table.primary_key.columns.keys()))
                rows[table.name, *key] = dict(row)
        for *key, probability, rank in connection.exec_driver_sql(SCORES):
            rows["score", *key] = {"probability": probability, "rank": rank}
    return rows
