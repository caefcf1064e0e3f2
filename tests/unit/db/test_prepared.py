"""Statements that are built once and executed often."""

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, bindparam, create_engine, insert, select, update
from sqlalchemy.exc import StatementError

from db.prepared import prepared, prepared_many, read_inserted_id

NUMBERS = Table("numbers", MetaData(), Column("id", Integer, primary_key=True), Column("value", Integer))


@pytest.fixture
def connection():
    """A connection to a table of four numbers, all 0."""
    with create_engine("sqlite://").begin() as connection:
        NUMBERS.create(connection)
        connection.execute(insert(NUMBERS), [{"id": id, "value": 0} for id in range(4)])
        yield connection


def read_values(connection):
    return connection.execute(select(NUMBERS.c.value).order_by(NUMBERS.c.id)).scalars().all()


def test_a_statement_is_built_once_and_takes_its_arguments_each_time(connection):
    built = []

    @prepared
    def add_to_values(ids, value):
        built.append(value)
        return update(NUMBERS).where(NUMBERS.c.id.in_(ids)).values(value=NUMBERS.c.value + value)

    for ids, value in (([0, 1, 2], 1), ([2], 10), ([], 100)):
        add_to_values(connection, ids, value)
    add_to_values(connection, [3], value=5)
    add_to_values(connection, value=7, ids=[3])
    assert read_values(connection) == [1, 1, 11, 12]
    assert len(built) == 1


def test_a_statement_that_lacks_an_argument_or_has_one_too_many_is_not_executed(connection):
    @prepared
    def set_value(id, value):
        return update(NUMBERS).where(NUMBERS.c.id == id).values(value=value)

    with pytest.raises(ValueError, match="shorter"):
        set_value(connection, 1)
    with pytest.raises(ValueError, match="longer"):
        set_value(connection, 1, 2, 3)
    with pytest.raises(StatementError, match="value_of_value"):
        set_value(connection, id=1)
    assert read_values(connection) == [0, 0, 0, 0]


def test_a_statement_gives_its_rows(connection):
    @prepared
    def select_ids(value):
        return select(NUMBERS.c.id).where(NUMBERS.c.value == value)

    assert select_ids(connection, 0).scalars().all() == [0, 1, 2, 3]
    assert select_ids(connection, 1).scalars().all() == []


def test_a_statement_for_many_rows_is_built_once_and_executed_for_each(connection):
    built = []

    @prepared_many
    def set_values():
        built.append(None)
        return update(NUMBERS).where(NUMBERS.c.id == bindparam("of_id")).values(value=bindparam("value"))

    set_values(connection, [{"of_id": 1, "value": 5}, {"of_id": 3, "value": 6}])
    set_values(connection, [{"of_id": 0, "value": 7}])
    assert read_values(connection) == [7, 5, 0, 6]
    assert len(built) == 1


def test_a_statement_for_no_rows_is_not_executed(connection):
    @prepared_many
    def insert_numbers():
        return insert(NUMBERS)

    insert_numbers(connection, [])
    assert len(read_values(connection)) == 4


def test_the_id_of_a_new_row_is_told(connection):
    @prepared
    def insert_number(value):
        return insert(NUMBERS).values(value=value)

    assert read_inserted_id(insert_number(connection, 1)) == 4
    assert read_inserted_id(insert_number(connection, 1)) == 5


def test_a_statement_keeps_its_name_and_docstring():
    @prepared
    def select_nothing():
        """No row."""
        return select(NUMBERS.c.id).where(False)

    assert (select_nothing.__name__, select_nothing.__doc__) == ("select_nothing", "No row.")
