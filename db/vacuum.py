"""Giving back the space of rows that were deleted."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, inspect, select, text
from sqlalchemy.exc import OperationalError

from db.revisions import require_newest
from db.session import Database
from db.tables import Base, Job, JobStatus
from db.types import now
from settings import GenremillError

POSTGRES_LOCK_TIMEOUT_S = 30  # Seconds that VACUUM waits for a table that is being changed.


@dataclass(frozen=True)
class Sizes:
    """What became of the space of a database."""

    before_bytes: int
    after_bytes: int
    complete: bool  # False: others were reading, so that SQLite makes its file smaller when they have ended.


def vacuum(database: Database) -> Sizes:
    """Give the space of deleted rows back: SQLite makes its file smaller, PostgreSQL puts other rows there.

    It takes as long as copying the database. PostgreSQL lets others work meanwhile. SQLite does not, so that workers
    must hold no job.
    Raises GenremillError when others use the database, or when there is too little space.
    """
    with database.read() as connection:
        require_newest(connection)
    before_bytes = measure_bytes(database)
    try:
        complete = _vacuum_postgres(database) if database.file is None else _vacuum_sqlite(database)
    except (OperationalError, TimeoutError) as error:
        raise _explain(database, error) from error
    return Sizes(before_bytes, measure_bytes(database), complete)


def measure_bytes(database: Database) -> int:
    """How large the database is: the SQLite file and its log, or our tables and indexes in PostgreSQL."""
    if database.file is not None:
        files = (database.file, database.file.with_name(f"{database.file.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())
    with database.read() as connection:
        sizes = [
            connection.execute(text("SELECT pg_total_relation_size(CAST(:name AS regclass))"), {"name": name})
            for name in _list_tables(connection)
        ]
        return sum(size.scalar_one() for size in sizes)


def _list_tables(connection: Connection) -> list[str]:
    """Our tables that this database has."""
    existing = set(inspect(connection).get_table_names())
    return [name for name in Base.metadata.tables if name in existing]


def _vacuum_postgres(database: Database) -> bool:
    with database.read() as connection:
        names = _list_tables(connection)
    with database.maintain() as connection:
        connection.exec_driver_sql(f"SET lock_timeout = '{POSTGRES_LOCK_TIMEOUT_S}s'")
        try:
            for name in names:
                connection.exec_driver_sql(f'VACUUM (ANALYZE) "{name}"')
        finally:
            connection.exec_driver_sql("RESET lock_timeout")
    return True


def _vacuum_sqlite(database: Database) -> bool:
    """VACUUM writes the database anew into its log. The file gets smaller when the log is copied into it."""
    _refuse_while_jobs_run(database)
    with database.maintain() as connection:
        connection.exec_driver_sql("VACUUM")
        is_busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    return not is_busy


def _refuse_while_jobs_run(database: Database) -> None:
    is_held = (Job.status == JobStatus.RUNNING) & (Job.lease_until > now())
    with database.read() as connection:
        jobs = connection.execute(select(func.count()).select_from(Job).where(is_held)).scalar_one()
    if jobs:
        raise GenremillError(
            f"a run is going on, and workers hold {jobs} of its jobs: vacuum when it has ended, or stop it first "
            "(the same command goes on where it was)"
        )


def _explain(database: Database, error: Exception) -> GenremillError:
    """The error for a person, of which `error` is the cause."""
    reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
    if "full" in reason:
        return GenremillError(
            f"there is too little free space to vacuum {database.address}: it takes as much as the database has, "
            "in its folder and in that for temporary files (see SQLITE_TMPDIR); nothing has changed"
        )
    return GenremillError(
        f"the database {database.address} cannot be vacuumed now: {reason}; "
        "try again when no run and no upgrade is going on"
    )
