"""Which errors of the database a further attempt may mend."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError

from db.session import is_transient


def test_a_wrong_statement_stays_wrong(database):
    with pytest.raises(ProgrammingError) as raised, database.read() as connection:
        connection.exec_driver_sql("SELECT 1", (1,))  # a value for which it has no place
    assert not is_transient(raised.value)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_lost_connection_may_come_back(database):
    with pytest.raises(OperationalError) as raised, database.read() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert is_transient(raised.value)
