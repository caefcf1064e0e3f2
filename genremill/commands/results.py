"""`genremill results`: tracks and their genres, as a table, as CSV or as JSON."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

import settings
from genremill import console
from genremill.commands.options import Kind, Limit, OnlyCoverage, OnlyModel, OnlyRun, PathPart

if TYPE_CHECKING:
    from db.filters import Filter
    from db.results import ResultRow

CSV_COLUMNS = ("path", "title", "artist", "album", "model", "genre", "probability", "rank", "coverage")


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


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
    model: OnlyModel = "",
    coverage: OnlyCoverage = "",
    run: OnlyRun = 0,
    kind: Kind = "genre",
    top: Annotated[int, typer.Option(metavar="NUMBER", help="genres per track, unless --genre is given")] = 3,
    limit: Limit = 100,
    format: Annotated[Format, typer.Option(help="how to print them")] = Format.TABLE,
) -> None:
    """List tracks with their most probable genres.

    A track that was analysed several times is listed with its newest analysis, unless options ask for another one.
    """
    from db.filters import Filter

    _print_results(
        Filter(
            genre=genre or None,
            min_probability=min_probability,
            path=path or None,
            model=model or None,
            coverage=coverage or None,
            run=run or None,
            kind=kind,
            top=top,
            limit=limit or None,
        ),
        format,
    )


def _print_results(filter: "Filter", format: Format) -> None:
    from db.filters import check_filter
    from db.results import read_results
    from db.session import connect_to_read

    with connect_to_read(settings.load().database).read() as connection:
        check_filter(connection, filter)
        rows = read_results(connection, filter)
        if format is Format.JSON:
            _print_json(rows)
        elif format is Format.CSV:
            _print_csv(rows)
        else:
            _print_table(list(rows), filter)


def _print_csv(rows: "Iterator[ResultRow]") -> None:
    writer = csv.DictWriter(sys.stdout, CSV_COLUMNS)
    writer.writeheader()
    writer.writerows(rows)


def _print_json(rows: "Iterator[ResultRow]") -> None:
    """Print a list, row by row, since there may be more rows than fit into memory."""
    separator = "["
    for row in rows:
        print(separator, json.dumps(row, ensure_ascii=False), sep="\n")
        separator = ","
    print("\n]" if separator == "," else "[]")


def _print_table(rows: "Sequence[ResultRow]", filter: "Filter") -> None:
    """Print one line for each track. The folder that all tracks have in common is said once."""
    folder, names = console.split_folder([row["path"] for row in rows])
    title = f"{filter.genre or ''} in {folder}".lstrip() if rows else ""
    if filter.genre is None:
        genres: dict[str, list[str]] = {}
        for name, row in zip(names, rows, strict=True):
            genres.setdefault(name, []).append(f"{row['genre']} {row['probability']:.3f}")
        lines = [(name, ", ".join(found)) for name, found in genres.items()]
        console.print_table(title, ("track", "genres"), lines)
    else:
        probabilities = [f"{row['probability']:.3f}" for row in rows]
        console.print_table(title, ("track", "probability"), [*zip(names, probabilities, strict=True)], ["probability"])
    if len(rows) == filter.limit:
        console.say(f"only the first {filter.limit} rows were asked for; --limit 0 lists all")
