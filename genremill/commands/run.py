"""`genremill run`: everything on this machine, from the scan to a summary."""

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

import settings
from genremill import console
from genremill.commands.options import (
    Amp,
    AsJson,
    Coverage,
    DeviceName,
    Exclude,
    Folders,
    ModelName,
    Retry,
    make_order,
)

if TYPE_CHECKING:
    from db.reports import ErrorRow, RunReport
    from db.results import GenreRow
    from db.session import Database
    from producer.order import Order

MAX_ERRORS = 20  # Failed tracks that the summary names. `genremill errors` lists them all.
MAX_GENRES = 12  # Genres that the summary names. `genremill genres` lists them all.
QUERY = "SELECT path, genre, probability FROM track_best ORDER BY genre, probability DESC"


class Summary(TypedDict):
    """What a run ends with, as `--json` prints it."""

    run: "RunReport"
    genres: "Sequence[GenreRow]"
    errors: "Sequence[ErrorRow]"
    database: str


def run(
    folders: Folders,
    model: ModelName = "",
    coverage: Coverage = "",
    exclude: Exclude = None,
    retry: Retry = False,
    device: DeviceName = "",
    amp: Amp = "",
    stay: Annotated[bool, typer.Option("--stay", help="keep Flower up after the end, until Ctrl-C")] = False,
    as_json: AsJson = False,
) -> None:
    """Analyse folders of music on this machine, start to finish.

    Scans the folders, starts a private Redis, workers and Flower, analyses every track that has no genres from this
    model yet, and prints a summary. An interrupted run goes on where it was when the same command is given again.
    """
    from genremill import local_stack

    config = settings.override(device=device, amp=amp)
    order = make_order(folders, model=model, coverage=coverage, exclude=exclude, retry=retry)
    with console.ProgressLine() as progress:
        database, run_id = local_stack.run(config, order, progress, stay)
    summary = _summarise(database, run_id, order)
    if as_json:
        console.print_json(summary)
    else:
        _print_summary(summary, database)
    counts = summary["run"].counts
    if not counts.balanced:
        console.err.print(f"genremill: the count is wrong: {console.format_counts(counts)}; please report it")
        raise SystemExit(1)


def _summarise(database: "Database", run_id: int, order: "Order") -> Summary:
    from db import reports
    from db.filters import Filter
    from db.results import count_genres

    roots = tuple(os.fsencode(root) for root in order.roots)
    of_this_order = Filter(roots=roots, model=order.checkpoint.name, coverage=order.coverage)
    with database.read() as connection:
        return {
            "run": reports.read_run(connection, run_id),
            "genres": count_genres(connection, of_this_order),
            "errors": list(reports.read_errors(connection, of_this_order)),
            "database": str(database.file or database.address),
        }


def _print_summary(summary: Summary, database: "Database") -> None:
    from genremill.commands.errors import print_errors
    from genremill.commands.genres import print_genres

    counts = summary["run"].counts
    if summary["genres"]:
        print_genres("Tracks by their first genre", summary["genres"][:MAX_GENRES])
        _print_rest(len(summary["genres"]) - MAX_GENRES, "genremill genres")
        console.out.print()
    if summary["errors"]:
        print_errors(f"Failed: {len(summary['errors'])}", summary["errors"][:MAX_ERRORS])
        _print_rest(len(summary["errors"]) - MAX_ERRORS, "genremill errors")
        console.out.print()
    if not counts.found:
        console.out.print("No audio files were found.")
    elif counts.found == counts.skipped:
        console.out.print("Nothing new: each track that was found had been looked at before.")
    console.out.print(f"Tracks:   {console.format_counts(counts)}")
    _print_long_line(f"Database: {summary['database']}")
    _print_long_line(f"Query:    {query_command(database)}")


def _print_rest(rows: int, command: str) -> None:
    """Say how many rows a table leaves out, if any, and which command lists them."""
    if rows > 0:
        console.out.print(f"{rows} more: {command}")


def query_command(database: "Database") -> str:
    """A command for a shell that asks the database for each track's first genre."""
    if database.file is not None:
        return shlex.join(["sqlite3", str(database.file), QUERY])
    return shlex.join(["psql", database.address, "-c", QUERY])


def _print_long_line(text: str) -> None:
    """Print a line that somebody may want to copy: without line breaks."""
    console.out.print(console.printable(text), soft_wrap=True, markup=False)
