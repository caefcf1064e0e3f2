"""How a database finds the rows of the statements that a piece of code executes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event

LARGE_TABLES = ("track", "prediction", "job")  # They have a row for each track or job. All others are small.

# What an index has to be searched for, by the name of the index: with less, most of it could be read.
SEARCHES = {
    r"score_row USING PRIMARY KEY": ("genre_id =", "prediction_id ="),
    r"INTEGER PRIMARY KEY|pk_\w+": (r"\b(row)?id =",),
    r"sqlite_autoindex_track_1|uq_track_library_id_path": ("library_id =", "path >"),
    r"sqlite_autoindex_prediction_1|uq_prediction_track_id_model_id_coverage": ("track_id =",),
    r"ix_track_audio_hash": ("audio_hash =",),
    r"ix_prediction_duplicate_of": ("duplicate_of =",),
    r"ix_job_queue_id": ("queue =",),
}
OF_RUN = "ix_prediction_run_id_status"


@contextmanager
def explained(of_run: bool = False) -> Iterator[list[str]]:
    """A list for the large tables of which more than a few rows are read, each with the statement that does it.

    of_run: whether predictions may be found by their run and status, of which there may be as many as there are tracks.
    """
    found: list[str] = []
    explaining = False

    def explain(connection, _cursor, statement, parameters, _context, is_many):
        nonlocal explaining
        if explaining or not statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            return
        explaining = True
        first = parameters[0] if is_many else parameters
        found.extend(
            f"{reading}: {statement}"
            for reading in _explain(connection, statement, first)
            if not of_run or OF_RUN not in reading
        )
        explaining = False

    event.listen(Engine, "after_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(Engine, "after_cursor_execute", explain)


def _explain(connection, statement, parameters) -> list[str]:
    """The ways in which the statement reads large tables, as far as they are not searches for a few rows."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        return [row[3] for row in rows if not _is_cheap_in_sqlite(row[3])]
    (plan,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    return [
        f"{node.get('Index Name')} {node.get('Index Cond')} {node}"
        for node in _nodes(plan["Plan"])
        if not _is_cheap_in_postgres(node)
    ]


def _is_cheap_in_sqlite(detail: str) -> bool:
    if not detail.startswith(("SCAN", "SEARCH")):
        return True
    if re.match(r"SCAN (CONSTANT ROW|\(?subquery|anon_|page\b|ranked|run\b|run_library|library|model)", detail):
        return True
    if re.match(r"SEARCH (run|run_library|library|model|genre)\b", detail):
        return True
    return _is_cheap(detail, detail.replace("=", " =").replace(">", " >"))


def _is_cheap_in_postgres(node: dict) -> bool:
    if node.get("Relation Name") not in LARGE_TABLES or node["Node Type"] == "ModifyTable":
        return True
    return _is_cheap(node.get("Index Name", ""), node.get("Index Cond", ""))


def _is_cheap(index: str, condition: str) -> bool:
    """Whether all that is needed of the index stands in the condition."""
    needed = [parts for name, parts in SEARCHES.items() if re.search(rf"\b({name})\b", index)]
    return bool(needed) and all(re.search(part, condition) for part in needed[0])


def _nodes(plan: dict) -> Iterator[dict]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from _nodes(inner)
