"""What the database says: `genremill status`, `results`, `genres` and `errors`."""

import contextlib
import csv
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

import settings
from db.paths import path_text
from genremill import console
from genremill.commands.options import AsJson

if TYPE_CHECKING:
    from db.reports import ErrorRow, GenreRow, RunReport
    from db.session import Database

WATCH_INTERVAL_S = 1.0  # Seconds between two tables of `status --watch`.
CSV_COLUMNS = ("path", "title", "artist", "album", "model", "genre", "probability", "rank")


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


Limit = Annotated[int, typer.Option(metavar="NUMBER", help="rows at most; 0 means all of them")]
PathPart = Annotated[
    str,
    typer.Option("--path", metavar="TEXT", help="only tracks with this text in their path", show_default="all tracks"),
]
ModelName = Annotated[
    str, typer.Option("--model", metavar="NAME", help="only results of this model", show_default="all models")
]
Kind = Annotated[str, typer.Option(metavar="KIND", help="genre, mood, era, instrument or voice")]


def _connect() -> "Database":
    from db.session import connect

    return connect(settings.load().database)


def status(
    watch: Annotated[bool, typer.Option("--watch", help="print it again every second, until Ctrl-C")] = False,
    limit: Limit = 10,
    as_json: AsJson = False,
) -> None:
    """Show how far each run is, the newest run first."""
    database = _connect()
    _print_status(database, limit, as_json)
    with contextlib.suppress(KeyboardInterrupt):
        while watch:
            time.sleep(WATCH_INTERVAL_S)
            _print_status(database, limit, as_json)


def _print_status(database: "Database", limit: int, as_json: bool) -> None:
    from db.reports import read_runs

    with database.read() as connection:
        runs = read_runs(connection, limit or None)
    now = datetime.now(UTC)
    if as_json:
        console.print_json(
            [{**vars(run), "rate": measure_rate(run, now), "balanced": run.counts.balanced} for run in runs]
        )
    else:
        _print_runs(runs, now)


def _print_runs(runs: "Sequence[RunReport]", now: datetime) -> None:
    if not runs:
        console.out.print("no runs yet: `genremill run FOLDER` makes one")
        return
    columns = ("run", "model", "coverage", "state", "tracks", "libraries")
    rows = [
        (
            run.id,
            run.model,
            run.coverage,
            describe_state(run, now),
            console.format_counts(run.counts),
            ", ".join(path_text(root) for root in run.libraries),
        )
        for run in runs
    ]
    console.print_table("", columns, rows, right=("run",))


def measure_rate(run: "RunReport", now: datetime) -> dict[str, float | None]:
    """Tracks per second since the run began, and the seconds that are left at that rate."""
    counts = run.counts
    ended = counts.found - counts.skipped - counts.handed_over - counts.open
    elapsed_s = ((run.finished_at or now) - run.started_at).total_seconds()
    tracks_per_s = ended / elapsed_s if elapsed_s > 0 else 0.0
    return {"tracks_per_s": tracks_per_s, "eta_s": counts.open / tracks_per_s if tracks_per_s else None}


def describe_state(run: "RunReport", now: datetime) -> str:
    """What a run is doing, in a few words."""
    if run.finished_at is not None:
        return "finished"
    rate = measure_rate(run, now)
    left = "" if rate["eta_s"] is None else f", {rate['eta_s']:.0f} s left"
    return f"{run.jobs_running} jobs running, {run.jobs_queued} queued, {rate['tracks_per_s']:.1f} tracks/s{left}"


def results(
    genre: Annotated[
        str,
        typer.Option(
            metavar="GENRE",
            help="list the most probable tracks of this genre",
            show_default="list each track's genres",
        ),
    ] = "",
    min_probability: Annotated[
        float, typer.Option("--min", metavar="PROBABILITY", help="leave out genres that are less probable")
    ] = 0.0,
    path: PathPart = "",
    model: ModelName = "",
    kind: Kind = "genre",
    top: Annotated[int, typer.Option(metavar="NUMBER", help="genres per track, unless --genre is given")] = 3,
    limit: Limit = 100,
    format: Annotated[Format, typer.Option(help="how to print them")] = Format.TABLE,
) -> None:
    """List tracks with their most probable genres."""
    from db.reports import Filter, read_results

    filter = Filter(
        genre=genre or None,
        min_probability=min_probability,
        path=path or None,
        model=model or None,
        kind=kind,
        top=top,
        limit=limit or None,
    )
    with _connect().read() as connection:
        rows = read_results(connection, filter)
    if format is Format.JSON:
        console.print_json(rows)
    elif format is Format.CSV:
        writer = csv.DictWriter(sys.stdout, CSV_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print_rows("", ("path", "artist", "title", "genre", "probability"), rows, right=("probability",))


def genres(path: PathPart = "", model: ModelName = "", kind: Kind = "genre", as_json: AsJson = False) -> None:
    """Count the tracks of each genre.

    A track counts for its most probable genre. The mean probability of a genre is that over all tracks.
    """
    from db.reports import Filter, count_genres

    filter = Filter(kind=kind, path=path or None, model=model or None)
    with _connect().read() as connection:
        rows = count_genres(connection, filter)
    if as_json:
        console.print_json(rows)
    else:
        print_genres("", rows)


def errors(limit: Limit = 100, as_json: AsJson = False) -> None:
    """List the tracks that failed, and why.

    `genremill run FOLDER --retry` analyses them again.
    """
    from db.reports import Filter, read_errors

    with _connect().read() as connection:
        rows = read_errors(connection, Filter(limit=limit or None))
    if as_json:
        console.print_json(rows)
    elif rows:
        print_errors("", rows)
    else:
        console.out.print("nothing failed")


def print_genres(title: str, rows: "Sequence[GenreRow]") -> None:
    """Print the table of a collection's genres."""
    _print_rows(title, ("genre", "tracks", "mean_probability"), rows, right=("tracks", "mean_probability"))


def print_errors(title: str, rows: "Iterable[ErrorRow]") -> None:
    """Print the table of failed tracks."""
    lines = [(row["path"], row["code"], row["detail"]) for row in rows]
    console.print_table(title, ("file", "code", "what happened"), lines)


def _print_rows(title: str, columns: Sequence[str], rows: Sequence[Mapping[str, object]], right: Sequence[str]) -> None:
    """Print these columns of the rows, after the column of the model where the rows come from several models."""
    if len({row["model"] for row in rows}) > 1:
        columns = ("model", *columns)
    headings = {name: name.replace("_", " ") for name in columns}
    lines = [[_format_cell(row[name]) for name in columns] for row in rows]
    console.print_table(title, tuple(headings.values()), lines, right=[headings[name] for name in right])


def _format_cell(value: object) -> object:
    return f"{value:.3f}" if isinstance(value, float) else value
