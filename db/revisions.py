"""Which migration a database is at, and how it is brought to the newest one.

A revision is the name of a migration, such as "0001". The table `alembic_version` has that of the last migration that
was applied to the database.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, inspect, text

from settings import GenremillError

MIGRATIONS = Path(__file__).with_name("migrations")
MIGRATION_LOCK = 0x67656E72  # The number of PostgreSQL's advisory lock: the bytes of "genr".

Report = Callable[[str], object]  # Who wants to know how far a migration is: gets one line for people at a time.


class NoDatabaseError(GenremillError):
    """There is no database yet, or it has no tables."""

    def __init__(self, url: URL) -> None:
        super().__init__(
            f"nothing was analysed yet: there is no database {address(url)}; begin with `genremill run FOLDER`, "
            "or see GENREMILL_DATABASE_URL"
        )


class OlderDatabaseError(GenremillError):
    """The tables are those of an older genremill."""

    def __init__(self, url: URL, revision: str) -> None:
        super().__init__(
            f"the database {address(url)} was made by an older genremill (revision {revision}, here {newest()}): "
            "`genremill db upgrade`, or the next run, brings it up to date"
        )


class NewerDatabaseError(GenremillError):
    """The tables are those of a genremill whose migrations are not known here."""

    def __init__(self, url: URL, revision: str) -> None:
        super().__init__(
            f"the database {address(url)} was made by a newer genremill (revision {revision}, here {newest()}): "
            "install that one on this machine too, or see GENREMILL_DATABASE_URL"
        )


def address(url: URL) -> str:
    """The address of a database as other database clients take it, with the password hidden."""
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


def newest() -> str:
    """The revision of the tables that this version of genremill works with."""
    return _list_revisions(MIGRATIONS)[-1]


@cache
def _list_revisions(folder: Path) -> list[str]:
    """All revisions, the oldest first. The name of a migration's file begins with its revision.

    alembic is not asked, since most commands read only, and loading it takes a tenth of their time.
    """
    return sorted(path.name.partition("_")[0] for path in (folder / "versions").glob("[0-9]*_*.py"))


def read_revision(connection: Connection) -> str | None:
    """The revision of the database, or None if it has no tables of genremill."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def require_newest(connection: Connection) -> None:
    """Make sure that the tables are those that this version of genremill works with.

    Raises NoDatabaseError, OlderDatabaseError or NewerDatabaseError when they are not.
    """
    revision = read_revision(connection)
    if revision is None:
        raise NoDatabaseError(connection.engine.url)
    if revision != newest():
        _require_known(connection.engine, revision)
        raise OlderDatabaseError(connection.engine.url, revision)


def _require_known(engine: Engine, revision: str) -> None:
    """Raises NewerDatabaseError when there is no migration of this revision here."""
    if revision not in _list_revisions(MIGRATIONS):
        raise NewerDatabaseError(engine.url, revision)


def upgrade(engine: Engine, report: Report) -> None:
    """Bring the tables to the newest revision, or make them.

    Each migration is kept when it is done, so that one that is cut off is the only one that is begun anew. `report`
    gets a line for each migration, and what the migration itself reports; nothing if the database was empty.
    Raises NewerDatabaseError when the database has a revision that is not known here.
    """
    if _read_revision_of(engine) == newest():
        return
    with _lock_migrations(engine):
        revision = _read_revision_of(engine)
        for missing in _list_missing(engine, revision):
            _apply(engine, missing, _ignore if revision is None else report)


def _read_revision_of(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return read_revision(connection)


def _list_missing(engine: Engine, revision: str | None) -> list[str]:
    """The revisions that a database of this revision lacks, in their order."""
    if revision is not None:
        _require_known(engine, revision)
    return [known for known in _list_revisions(MIGRATIONS) if revision is None or known > revision]


def _apply(engine: Engine, revision: str, report: Report) -> None:
    """Apply one migration. What it has not committed itself is committed with its revision."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config).get_revision(revision)
    report(f"upgrading the database to revision {revision}: {script.doc}")
    with engine.connect().execution_options(genremill_begin="BEGIN IMMEDIATE") as connection:
        config.attributes.update(connection=connection, progress=report)
        command.upgrade(config, revision)
        connection.commit()


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


def _ignore(_message: str) -> None:
    """Report nothing."""
