"""Paths and moments on their way into the database and back, in both kinds of database."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select

from db.types import PathText, UtcDateTime, now

ROWS = Table(
    "rows",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("path", PathText),
    Column("moment", UtcDateTime),
)


@pytest.fixture
def connection(database):
    with database.write() as connection:
        ROWS.create(connection)
        yield connection


def store(connection, path, moment):
    """What comes back of a path and a moment."""
    connection.execute(insert(ROWS), {"path": path, "moment": moment})
    return connection.execute(select(ROWS.c.path, ROWS.c.moment).order_by(ROWS.c.id.desc()).limit(1)).one()


@pytest.mark.parametrize("path", [b"", b"a/b", "é/日本".encode(), b"caf\xe9", rb"a\b", rb"\xe9", b"a\nb", b"'%_\""])
def test_a_path_comes_back_as_it_was(connection, path):
    assert store(connection, path, None) == (path, None)


def test_a_path_is_compared_byte_for_byte(connection):
    for path in (b"/Music", b"/music", b"/m%", b"/caf\xe9", b"/caf\\xe9"):
        connection.execute(insert(ROWS), {"path": path})
        assert connection.execute(select(ROWS.c.path).where(ROWS.c.path == path)).scalars().all() == [path]


def test_a_moment_of_any_time_zone_comes_back_in_utc(connection):
    summer = timezone(timedelta(hours=2))
    (path, moment) = store(connection, None, datetime(2026, 7, 1, 14, 30, 15, 123456, summer))
    assert (path, moment) == (None, datetime(2026, 7, 1, 12, 30, 15, 123456, UTC))
    assert moment.utcoffset() == timedelta(0)


def test_moments_are_in_their_order(connection):
    summer = timezone(timedelta(hours=2))
    earlier, later = datetime(2026, 7, 1, 13, tzinfo=summer), datetime(2026, 7, 1, 12, tzinfo=UTC)
    connection.execute(insert(ROWS), [{"moment": later}, {"moment": earlier}])
    assert connection.execute(select(ROWS.c.moment).order_by(ROWS.c.moment)).scalars().all() == [earlier, later]
    assert connection.execute(select(ROWS.c.moment).where(ROWS.c.moment < later)).scalars().all() == [earlier]


def test_now_is_in_utc():
    assert now().tzinfo is UTC
    assert abs(datetime.now(UTC) - now()) < timedelta(seconds=10)
