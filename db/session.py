"""How to reach the database: connections, transactions, and migrations when it is opened."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from sqlite3 import Connection as SqliteConnection

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError, SQLAlchemyError

from db.write_lock import SqliteWriteLock
from settings import GenremillError

SQLITE_TIMEOUT_MS = 30_000  # How long SQLite waits for a lock before a statement fails.
POSTGRES_TIMEOUT_S = 5  # How long a connection to PostgreSQL may take to be made.
MIGRATION_LOCK = 0x67656E72  # The number of PostgreSQL's advisory lock: the bytes of "genr".
MIGRATIONS = Path(__file__).with_name("migrations")


class Database:
    """One open database. All access goes through `read` and `write`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._write_lock = SqliteWriteLock(self.file) if self.file else None

    @property
    def address(self) -> str:
        """The address as other database clients take it, with the password hidden."""
        url = self._engine.url
        return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)

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
    def write(self) -> Iterator[Connection]:
        """A transaction. It is committed at the end, and rolled back if an error is raised in it."""
        with (
            self._write_lock or nullcontext(),
            self._engine.connect().execution_options(genremill_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        if self._write_lock is not None:
            self._write_lock.close()


def connect(url: str) -> Database:
    """Open the database at this SQLAlchemy address. Its tables are made or migrated if needed.

    Raises GenremillError when the address is not valid or the database cannot be used.
    """
    try:
        engine = _create_engine(url)
        try:
            _migrate(engine)
        except BaseException:
            engine.dispose()
            raise
    except (ArgumentError, ImportError) as error:
        raise GenremillError(f"GENREMILL_DATABASE_URL is not a database address: {error}") from error
    except ValueError as error:  # The port is not a number. The message could contain a part of the password.
        raise GenremillError("GENREMILL_DATABASE_URL is not a database address") from error
    except CommandError as error:
        address = make_url(url).render_as_string(hide_password=True)
        raise GenremillError(
            f"the database {address} was made by another genremill: {error}; upgrade, or see GENREMILL_DATABASE_URL"
        ) from error
    except (SQLAlchemyError, OSError) as error:
        address = make_url(url).render_as_string(hide_password=True)
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise GenremillError(f"the database {address} cannot be used: {reason}; see GENREMILL_DATABASE_URL") from error
    return Database(engine)


def _create_engine(url: str) -> Engine:
    address = make_url(url)
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    if address.get_backend_name() == "postgresql":
        return create_engine(address, pool_pre_ping=True, connect_args={"connect_timeout": POSTGRES_TIMEOUT_S})
    if address.get_backend_name() != "sqlite" or not address.database or address.database == ":memory:":
        given = address.render_as_string(hide_password=True)
        raise ArgumentError(f"{given!r}: use sqlite:///FILE or postgresql://HOST/NAME")
    Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(address, connect_args={"timeout": SQLITE_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: SqliteConnection, _record: object) -> None:
    connection.isolation_level = None  # The driver begins no transactions of its own: _begin_sqlite does.
    for pragma in (f"busy_timeout={SQLITE_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction. One that will write takes SQLite's lock now: later SQLite would fail instead of waiting."""
    write = connection.get_execution_options().get("genremill_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _migrate(engine: Engine) -> None:
    """Bring the tables to the state that this version of genremill knows."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    head = ScriptDirectory.from_config(config).get_current_head()
    if _read_revision(engine) == head:
        return
    with _lock_migrations(engine):
        if _read_revision(engine) != head:
            with engine.connect().execution_options(genremill_write=True) as connection, connection.begin():
                config.attributes["connection"] = connection
                command.upgrade(config, "head")


def _read_revision(engine: Engine) -> str | None:
    """The migration that the database is at, or None for an empty database."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _lock_migrations(engine: Engine) -> Iterator[None]:
    """Let one process migrate. Others that open the same database meanwhile wait."""
    if engine.dialect.name == "sqlite":
        with Path(f"{engine.url.database}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        yield


def is_transient(error: Exception) -> bool:
    """Whether the same statement may succeed later: the connection was lost, or a lock was held for too long."""
    if isinstance(error, ProgrammingError):
        return False
    return isinstance(error, OperationalError | TimeoutError) or bool(getattr(error, "connection_invalidated", False))
