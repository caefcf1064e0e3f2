"""The door to the database: connections, transactions, migrations."""

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError, SQLAlchemyError

from settings import GenremillError

BUSY_TIMEOUT_MS = 30_000
TURN_S = 0.001  # between two looks whether another process has ended its transaction
MIGRATION_LOCK = 0x67656E72  # PostgreSQL advisory lock: the bytes of "genr"


class Database:
    """One database. `read` and `write` are the only ways in."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._turns = _Turns(self.file) if self.file else None

    @property
    def address(self) -> str:
        """Its address, as psql and sqlite3 people write it, without the password."""
        url = self._engine.url
        return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The SQLite file, or None."""
        return Path(self._engine.url.database) if self._engine.dialect.name == "sqlite" else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection whose statements see one state of the database."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back on an error."""
        with (
            self._turns or nullcontext(),
            self._engine.connect().execution_options(genremill_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()
        if self._turns is not None:
            self._turns.close()


class _Turns:
    """Lets the writers of a SQLite file in one after the other: those of this process, then other processes.

    SQLite's own lock decides; but whoever waits for that one sleeps for up to 100 ms at a time, and nobody wakes it.
    Who waits for the second of two locks holds the first: so a process that writes all the time overtakes nobody.
    """

    def __init__(self, database: Path):
        self._paths = [Path(f"{database}.{name}") for name in ("next", "lock")]
        self._threads = threading.Lock()
        self._files: list[IO] = []

    def __enter__(self) -> None:
        if not self._threads.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            raise TimeoutError(f"another writer holds the database for more than {BUSY_TIMEOUT_MS // 1000} s")
        deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
        with suppress(OSError):  # a folder or a file system without locks: SQLite's own does
            self._files = self._files or [path.open("w") for path in self._paths]
            for file in self._files:
                while not _lock(file) and time.monotonic() < deadline:
                    time.sleep(TURN_S)
            _unlock(self._files[0])

    def __exit__(self, *_error) -> None:
        with suppress(OSError):
            for file in self._files:
                _unlock(file)
        self._threads.release()

    def close(self) -> None:
        """Close the locks' files."""
        while self._files:
            self._files.pop().close()


def _lock(file: IO) -> bool:
    """Take the lock, if it is free."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(file: IO) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)


def connect(url: str) -> Database:
    """Open the database at this SQLAlchemy address, made or migrated where needed.

    Raises GenremillError when there is none to be had.
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
    except ValueError as error:  # a port that is none; the message could hold a part of the password
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
        return create_engine(address, pool_pre_ping=True, connect_args={"connect_timeout": 5})
    if address.get_backend_name() != "sqlite" or not address.database or address.database == ":memory:":
        given = address.render_as_string(hide_password=True)
        raise ArgumentError(f"{given!r}: use sqlite:///FILE or postgresql://HOST/NAME")
    Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(address, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection, _record) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """A transaction that will write takes the lock at once: upgrading a read later would fail, not wait."""
    write = connection.get_execution_options().get("genremill_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _migrate(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    head = ScriptDirectory.from_config(config).get_current_head()
    if _revision(engine) == head:
        return
    with _migration_lock(engine):
        if _revision(engine) != head:
            with engine.connect().execution_options(genremill_write=True) as connection, connection.begin():
                config.attributes["connection"] = connection
                command.upgrade(config, "head")


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _migration_lock(engine: Engine) -> Iterator[None]:
    """Of several processes that start on an empty database, one migrates it and the others wait."""
    if engine.dialect.name == "sqlite":
        with Path(f"{engine.url.database}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        yield


def is_transient(error: Exception) -> bool:
    """Whether the same statement may succeed later: a lost connection, a lock that was held too long."""
    if isinstance(error, ProgrammingError):
        return False
    return isinstance(error, (OperationalError, TimeoutError)) or bool(getattr(error, "connection_invalidated", False))
