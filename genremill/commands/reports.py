"""What the database says: `genremill status`, `results`, `genres` and `errors`."""

import csv
import sys
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

import settings
from db.paths import path_text
from genremill import console
from genremill.commands.options import AsJson

if TYPE_CHECKING:
    from db.reports import RunReport
    from db.session import Database


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


Limit = Annotated[int, typer.Option(help="most rows; 0: all of them")]
PathPart = Annotated[str, typer.Option("--path", help="only where the path has this in it")]
ModelName = Annotated[str, typer.Option("--model", help="only of this model")]
Kind = Annotated[str, typer.Option(help="genre, mood, era, instrument or voice")]


def _database() -> "Database":
    from db.session import connect

    return connect(settings.load().database)


def status(
    watch: Annotated[bool, typer.Option("--watch", help="again every second, until Ctrl-C")] = False,
    limit: Limit = 10,
    as_json: AsJson = False,
) -> None:
    """How far each run is, the newest first."""
    from db.reports import read_runs

    database = _database()
    while True:
        with database.read() as connection:
            runs = read_runs(connection, limit or None)
        if as_json:
            console.print_json([{**vars(run), "rate": _rate(run), "balanced": run.counts.balanced} for run in runs])
        else:
            _print_runs(runs)
        if not watch:
            return
        time.sleep(1)


def _print_runs(runs: "list[RunReport]") -> None:
    if not runs:
        console.out.print("no runs yet: `genremill run FOLDER` makes one")
    columns = ("run", "model", "coverage", "state", "tracks", "libraries")
    rows = [
        (run.id, run.model, run.coverage, _state(run), console.balance(run.counts), _libraries(run)) for run in runs
    ]
    if rows:
        console.print_table("", columns, rows, right=("run",))


def _libraries(run: "RunReport") -> str:
    return ", ".join(path_text(root) for root in run.libraries)


def _rate(run: "RunReport") -> dict:
    """tracks/s since the run began, and the seconds left at that rate."""
    ended = run.counts.found - run.counts.skipped - run.counts.handed_over - run.counts.open
    elapsed_s = ((run.finished_at or datetime.now(UTC)) - run.started_at).total_seconds()
    per_s = ended / elapsed_s if elapsed_s > 0 else 0.0
    return {"tracks_per_s": per_s, "eta_s": run.counts.open / per_s if per_s else None}


def _state(run: "RunReport") -> str:
    if run.finished_at is not None:
        return "finished"
    rate = _rate(run)
    left = "" if rate["eta_s"] is None else f", {rate['eta_s']:.0f} s left"
    return f"{run.jobs_running} jobs running, {run.jobs_queued} queued, {rate['tracks_per_s']:.1f} tracks/s{left}"


def results(
    genre: Annotated[str, typer.Option(help="the most probable tracks of this genre")] = "",
    least: Annotated[float, typer.Option("--min", help="least probability")] = 0.0,
    path: PathPart = "",
    model: ModelName = "",
    kind: Kind = "genre",
    top: Annotated[int, typer.Option(help="genres of each track, where no genre is named")] = 3,
    limit: Limit = 100,
    format: Annotated[Format, typer.Option(help="table, csv or json")] = Format.TABLE,
) -> None:
    """Tracks and their genres."""
    from db.reports import Filter, read_results

    which = Filter(genre or None, least, path or None, (), model or None, kind, top)
    with _database().read() as connection:
        rows = read_results(connection, which, limit or None)
    if format is Format.JSON:
        console.print_json(rows)
    elif format is Format.CSV:
        writer = csv.DictWriter(
            sys.stdout, ["path", "title", "artist", "album", "model", "genre", "probability", "rank"]
        )
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print_rows("", ("path", "artist", "title", "genre", "probability"), rows, right=("probability",))


def genres(path: PathPart = "", model: ModelName = "", kind: Kind = "genre", as_json: AsJson = False) -> None:
    """How the collection divides: tracks by their first genre, and each genre's mean probability."""
    from db.reports import Filter, count_genres

    which = Filter(kind=kind, path=path or None, model=model or None)
    with _database().read() as connection:
        rows = count_genres(connection, which)
    if as_json:
        console.print_json(rows)
    else:
        print_genres("", rows)


def print_genres(title: str, rows: list[dict]) -> None:
    """The table of a collection's genres."""
    _print_rows(title, ("genre", "tracks", "mean_probability"), rows, right=("tracks", "mean_probability"))


def _print_rows(title: str, columns: tuple[str, ...], rows: list[dict], right: tuple[str, ...]) -> None:
    """These columns of the rows, and the model's where the rows are of several."""
    if len({row["model"] for row in rows}) > 1:
        columns = ("model", *columns)
    lines = [[f"{row[c]:.3f}" if isinstance(row[c], float) else row[c] for c in columns] for row in rows]
    headings = {name: name.replace("_", " ") for name in columns}
    console.print_table(title, tuple(headings.values()), lines, right=[headings[name] for name in right])


def errors(limit: Limit = 100, as_json: AsJson = False) -> None:
    """What failed and why. `genremill run --retry` analyses it again."""
    from db.reports import read_errors

    with _database().read() as connection:
        rows = read_errors(connection, limit or None)
    if as_json:
        console.print_json(rows)
    elif rows:
        print_errors("", rows)
    else:
        console.out.print("nothing failed")


def print_errors(title: str, rows: list[dict]) -> None:
    """The table of failed tracks."""
    console.print_table(title, ("file", "code", "what happened"), [(r["path"], r["code"], r["detail"]) for r in rows])
