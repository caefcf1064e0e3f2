"""`genremill errors`: the tracks that could not be analysed, and why."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import settings
from db.paths import path_text
from genremill import console
from genremill.commands.options import AsJson, Limit, OnlyCoverage, OnlyModel, OnlyRun, PathPart

if TYPE_CHECKING:
    from db.reports import ErrorRow


def errors(
    path: PathPart = "",
    model: OnlyModel = "",
    coverage: OnlyCoverage = "",
    run: OnlyRun = 0,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List the tracks that failed, and why.

    A track that has genres from another analysis is left out, unless options ask for the one that failed.
    `genremill run FOLDER --retry` analyses them again.
    """
    from db.filters import Filter, check_filter
    from db.reports import count_errors, read_errors
    from db.session import connect_to_read

    filter = Filter(
        path=path or None, model=model or None, coverage=coverage or None, run=run or None, limit=limit or None
    )
    with connect_to_read(settings.load().database).read() as connection:
        check_filter(connection, filter)
        rows = list(read_errors(connection, filter))
        total = count_errors(connection, filter)
    if as_json:
        console.print_json(rows)
    elif rows:
        print_errors("", rows)
    else:
        console.out.print("nothing failed")
    if len(rows) < total:
        console.say(f"{total - len(rows)} more: --limit 0 lists all")


def print_errors(title: str, rows: "Sequence[ErrorRow]") -> None:
    """Print the table of failed tracks. The folder that all of them have in common is said once."""
    folder, names = console.split_folder([path_text(row["path"]) for row in rows])
    title = f"{title} in {folder}".lstrip()
    lines = [(name, row["code"], row["detail"]) for name, row in zip(names, rows, strict=True)]
    console.print_table(title, ("file", "code", "what happened"), lines)
