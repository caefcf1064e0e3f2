"""Column types for paths, which are bytes, and for moments, which are in UTC."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, Text, TypeDecorator

from db.paths import path_bytes, path_text


class PathText(TypeDecorator[bytes]):
    """A path: bytes in Python, text in the database, as db.paths describes it.

    The order of paths is that of their bytes in both databases. PostgreSQL would have that of a language otherwise.
    """

    impl = Text().with_variant(Text(collation="C"), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> str | None:
        """What the database stores of a path."""
        return None if value is None else path_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> bytes | None:
        """The path that the database has stored as this text."""
        return None if value is None else path_bytes(value)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. PostgreSQL stores it with a time zone; SQLite has no time zones and stores UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """What the database stores of a moment, which may be of any time zone."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment that the database has stored, with its time zone."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)
