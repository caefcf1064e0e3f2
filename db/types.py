"""Column types: paths as bytes, and times in UTC."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, Text, TypeDecorator

from db.paths import path_bytes, path_text


class PathText(TypeDecorator):
    r"""A file's path: bytes in Python, text in SQL. A byte that is not UTF-8 is written \xNN, a backslash \\."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return None if value is None else path_text(value)

    def process_result_value(self, value, dialect):
        return None if value is None else path_bytes(value)


class UtcDateTime(TypeDecorator):
    """A moment in UTC; SQLite knows no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value, dialect):
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)
