"""Measure a filled database: python -m benchmarks.scale measure --database URL

Printed are bytes a track by table, with the table's indexes, and for each query the median of five times after one
that does not count. Where that one took longer than 10 s, it is the figure.

SQLite: seconds of CPU time of this process, with all rows fetched. PostgreSQL: the server's execution time, as EXPLAIN
(ANALYZE, TIMING OFF) tells it, and behind it the wall time of the query with all rows fetched.
"""

import argparse
import time
from statistics import median
from typing import NamedTuple

from sqlalchemy import Connection, text

from benchmarks.scale.queries import Query, list_queries
from benchmarks.timing import cpu_s
from db.session import connect

REPEATS = 5
LONG_S = 10.0  # A query that takes longer is not repeated.
SIZES = {  # Bytes of each table and its indexes.
    "sqlite": """
        SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_master USING (name) GROUP BY tbl_name ORDER BY 2 DESC
    """,
    "postgresql": """
        SELECT relname, pg_total_relation_size(oid) FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC
    """,
}
TABLES = ("score_row", "prediction", "track", "job")  # The others have few rows, and are one figure.


class Taken(NamedTuple):
    """Seconds that a query took: those that count for its limit, and the wall time."""

    counted_s: float
    wall_s: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("--database", required=True, metavar="URL", help="as it was filled")


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    database = connect(options.database)
    with database.read() as connection:
        print(describe_size(connection))
        what = "CPU" if connection.dialect.name == "sqlite" else "server"
        print(f"{'query':24} {what + ' s':>9} {'wall s':>8} {'limit':>6}")
        for query in list_queries(connection):
            taken = measure(connection, query.sql)
            print(
                f"{query.name:24} {taken.counted_s:9.4f} {taken.wall_s:8.4f} {describe_limit(query, taken)}", flush=True
            )
    database.close()


def describe_size(connection: Connection) -> str:
    """How many tracks there are, and the bytes of each."""
    tracks = connection.execute(text("SELECT count(*) FROM track")).scalar_one()
    predictions = connection.execute(text("SELECT count(*) FROM prediction")).scalar_one()
    sizes: dict[str, int] = {name: int(size) for name, size in connection.execute(text(SIZES[connection.dialect.name]))}
    parts = [f"{name} {sizes[name] / tracks:.0f}" for name in TABLES if name in sizes]
    rest = sum(size for name, size in sizes.items() if name not in TABLES)
    total = sum(sizes.values())
    return (
        f"{tracks:,} tracks, {predictions:,} predictions, {total / 1e6:,.0f} MB; bytes a track: "
        f"{total / tracks:.0f} ({', '.join(parts)}, others {rest / tracks:.1f})"
    )


def describe_limit(query: Query, taken: Taken) -> str:
    """The limit of a query, and whether it holds."""
    if query.limit_s is None:
        return f"{'-':>6}"
    return f"{query.limit_s:6.2f} {'holds' if taken.counted_s <= query.limit_s else 'DOES NOT HOLD'}"


def measure(connection: Connection, sql: str) -> Taken:
    """How long a query takes."""
    warm_up = take_once(connection, sql)
    if warm_up.wall_s > LONG_S:
        return warm_up
    times = [take_once(connection, sql) for _ in range(REPEATS)]
    return Taken(median(taken.counted_s for taken in times), median(taken.wall_s for taken in times))


def take_once(connection: Connection, sql: str) -> Taken:
    """The times of one execution. PostgreSQL executes twice: to tell the server's time, and to fetch the rows."""
    began = time.perf_counter()
    own_s = cpu_s(lambda: connection.exec_driver_sql(sql).all())
    wall_s = time.perf_counter() - began
    if connection.dialect.name == "sqlite":
        return Taken(own_s, wall_s)
    plan = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}").scalar_one()[0]
    return Taken((plan["Planning Time"] + plan["Execution Time"]) / 1000, wall_s)
