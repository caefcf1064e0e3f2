"""Statements that are built once."""

from sqlalchemy import Column, Integer, MetaData, Table, create_engine, insert, select, update

from db.prepared import prepared

NUMBERS = Table("numbers", MetaData(), Column("id", Integer, primary_key=True), Column("value", Integer))


def test_a_statement_is_built_once_and_takes_its_values_each_time():
    built = []

    @prepared
    def change(ids, value):
        built.append(value)
        return update(NUMBERS).where(NUMBERS.c.id.in_(ids)).values(value=NUMBERS.c.value + value)

    with create_engine("sqlite://").begin() as connection:
        NUMBERS.create(connection)
        connection.execute(insert(NUMBERS), [{"id": id, "value": 0} for id in range(4)])
        for ids, value in (([0, 1, 2], 1), ([2], 10), ([], 100)):
            connection.execute(*change(ids, value))
        assert connection.execute(select(NUMBERS.c.value)).scalars().all() == [1, 1, 11, 0]
    assert len(built) == 1
