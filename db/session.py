"""How to reach the database: how it is opened, connections, and transactions.

Whoever writes opens it with `connect`, which makes the tables or brings them to this version. Whoever only reads opens
it with `connect_to_read`, which changes nothing. `connect_as_it_is` is for whoever looks after the database itself.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError, SQLAlchemyError

from db import revisions
from db.revisions import NoDatabaseError, Report
from db.write_lock import SqliteWriteLock
from settings import GenremillError

SQLITE_TIMEOUT_MS = 30_000  # How long SQLite waits for a lock before a statement fails.
POSTGRES_TIMEOUT_S = 5  # How long a connection to PostgreSQL may take to be made.


class Database:
    """One open database. All access goes through `read` and `write`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._write_lock = SqliteWriteLock(self.file) if self.file else None

    @property
    def address(self) -> str:
        """The address as other database clients take it, with the password hidden."""
        return revisions.address(self._engine.url)

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database, or None for PostgreSQL."""
        path = self._engine.url.database
        return Path(path) if path and self._engine.dialect.name == "sqlite" else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading. What it changes is not kept.

        On SQLite its statements all see the same state of the database.
        """
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def read_snapshot(self) -> Iterator[Connection]:
        """A connection for reading whose statements all see the same state of the database."""
        with self._engine.connect() as connection:
            if self.file is None:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextmanager
    def maintain(self) -> Iterator[Connection]:
        """A connection for statements that must not be in a transaction, such as VACUUM. Other writers wait for it."""
        options = {"genremill_begin": None} if self.file else {"isolation_level": "AUTOCOMMIT"}
        with (
            self._write_lock or nullcontext(),
            self._engine.connect().execution_options(**options) as connection,
        ):
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction. It is committed at the end, and rolled back if an error is raised in it."""
        with (
            self._write_lock or nullcontext(),
            self._engine.connect().execution_options(genremill_begin="BEGIN IMMEDIATE") as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        if self._write_lock is not None:
            self._write_lock.close()


def connect(url: str, report: Report = lambda message: None) -> Database:
    """Open the database at this SQLAlchemy address to work with it. Its tables are made or migrated if needed.

    `report` gets a line for each migration of a database that was made before, see revisions.upgrade.
    Raises GenremillError when the address is not valid or the database cannot be used.
    """
    with _explain_errors(url):
        address = _read_address(url)
        if address.get_backend_name() == "sqlite":
            Path(address.database or "").parent.mkdir(parents=True, exist_ok=True)
        engine = _create_engine(address)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _use_write_ahead_log)
        with _disposed_at_error(engine):
            revisions.upgrade(engine, report)
    return Database(engine)


def connect_to_read(url: str) -> Database:
    """Open a database that is there and has the tables of this version. Nothing is made or changed.

    Raises what connect_as_it_is raises, and OlderDatabaseError or NewerDatabaseError when it has other tables.
    """
    database = connect_as_it_is(url)
    try:
        with database.read() as connection:
            revisions.require_newest(connection)
    except BaseException:
        database.close()
        raise
    return database


def connect_as_it_is(url: str) -> Database:
    """Open a database that is there, whichever version of genremill made it. Nothing is made or changed.

    Raises NoDatabaseError when there is none or it has no tables, and GenremillError when it cannot be used.
    """
    with _explain_errors(url):
        address = _read_address(url)
        if address.get_backend_name() == "sqlite" and not Path(address.database or "").exists():
            raise NoDatabaseError(address)
        engine = _create_engine(address)
        with _disposed_at_error(engine), engine.connect() as connection:
            if revisions.read_revision(connection) is None:
                raise NoDatabaseError(address)
    return Database(engine)


@contextmanager
def _explain_errors(url: str) -> Iterator[None]:
    """Turn what goes wrong when the database is opened into a GenremillError that says what to do."""
    try:
        yield
    except (ArgumentError, ImportError) as error:
        raise GenremillError(f"GENREMILL_DATABASE_URL is not a database address: {error}") from error
    except ValueError as error:  # The port is not a number. The message could contain a part of the password.
        raise GenremillError("GENREMILL_DATABASE_URL is not a database address") from error
    except (SQLAlchemyError, OSError) as error:
        address = make_url(url).render_as_string(hide_password=True)
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise GenremillError(f"the database {address} cannot be used: {reason}; see GENREMILL_DATABASE_URL") from error


@contextmanager
def _disposed_at_error(engine: Engine) -> Iterator[None]:
    """Close the connections of an engine that turns out to be of no use."""
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


def _read_address(url: str) -> URL:
    """The address as SQLAlchemy takes it. Raises ArgumentError when it is neither a SQLite file nor PostgreSQL."""
    address = make_url(url)
    if address.drivername == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    if address.get_backend_name() == "postgresql":
        return address
    if address.get_backend_name() != "sqlite" or not address.database or address.database == ":memory:":
        given = address.render_as_string(hide_password=True)
        raise ArgumentError(f"{given!r}: use sqlite:///FILE or postgresql://HOST/NAME")
    return address


def _create_engine(address: URL) -> Engine:
    if address.get_backend_name() == "postgresql":
        return create_engine(address, pool_pre_ping=True, connect_args={"connect_timeout": POSTGRES_TIMEOUT_S})
    engine = create_engine(address, connect_args={"timeout": SQLITE_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # The driver begins no transactions of its own: _begin_sqlite does.
    for pragma in (f"busy_timeout={SQLITE_TIMEOUT_MS}", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _use_write_ahead_log(connection: sqlite3.Connection, _record: object) -> None:
    """Let readers and a writer not wait for each other. The file keeps this; one that only reads must not change it."""
    connection.execute("PRAGMA journal_mode=WAL")


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction. One that will write takes SQLite's lock now: later SQLite would fail instead of waiting."""
    statement = connection.get_execution_options().get("genremill_begin", "BEGIN")
    if statement is not None:
        connection.exec_driver_sql(statement)


def is_transient(error: Exception) -> bool:
    """Whether the same statement may succeed later: the connection was lost, or a lock was held for too long."""
    if isinstance(error, ProgrammingError):
        return False
    if isinstance(error, OperationalError) and getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return False  # The statement is wrong, such as one that names a column that is not there.
    return isinstance(error, OperationalError | TimeoutError) or bool(getattr(error, "connection_invalidated", False))
