"""What lets PostgreSQL find rows by its indexes while tables are filled. SQLite does so by itself."""

from sqlalchemy import Connection

# Ways to execute a statement that read whole tables or sort what they find, and the compiler that pays off for those.
_WAYS_FOR_MANY_ROWS = (
    "enable_seqscan",
    "enable_bitmapscan",
    "enable_hashjoin",
    "enable_mergejoin",
    "enable_sort",
    "enable_material",
    "jit",
)
_PREFER_INDEXES = "SELECT " + ", ".join(f"set_config('{way}', 'off', true)" for way in _WAYS_FOR_MANY_ROWS)


def prefer_indexes(connection: Connection) -> None:
    """Let PostgreSQL use indexes until the transaction ends, for statements that concern few rows of large tables.

    By itself it reads all of a table whenever it believes that the table is small, or that most of it is wanted. Its
    statistics may be older than the last hundred thousand rows.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_PREFER_INDEXES)


def update_statistics(connection: Connection, table: str) -> None:
    """Let PostgreSQL look at a table that has just been filled, instead of some time later by itself."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ANALYZE {table}")
