"""Statements that are built once: SQLAlchemy takes ten times as long to build one as SQLite to run it."""

import inspect
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from sqlalchemy import Executable, bindparam


def prepared(build: Callable[..., Executable]) -> Callable[..., tuple[Executable, dict[str, Any]]]:
    """Turn a function that builds a statement of its arguments into one that gives the statement, built of bound
    parameters on the first call, and the arguments as their values: `connection.execute(*of_run(run_id))`."""
    keys = [f"the_{name}" for name in inspect.signature(build).parameters]  # no column's name, which would be SET

    @cache
    def statement() -> Executable:
        return build(*map(bindparam, keys))

    @wraps(build)
    def with_values(*values: Any) -> tuple[Executable, dict[str, Any]]:
        return statement(), dict(zip(keys, values, strict=True))

    return with_values
