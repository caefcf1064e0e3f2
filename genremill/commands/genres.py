"""`genremill genres`: how the collection divides."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import settings
from genremill import console
from genremill.commands.options import AsJson, Kind, OnlyCoverage, OnlyModel, OnlyRun, PathPart

if TYPE_CHECKING:
    from db.results import GenreRow


def genres(
    path: PathPart = "",
    model: OnlyModel = "",
    coverage: OnlyCoverage = "",
    run: OnlyRun = 0,
    kind: Kind = "genre",
    as_json: AsJson = False,
) -> None:
    """Count the tracks of each genre.

    Each track counts once: for the most probable genre of its newest analysis, unless options ask for another one. The
    mean probability of a genre is that over the tracks that count for it. Exact copies are counted, too.
    """
    from db.filters import Filter, check_filter
    from db.results import count_genres
    from db.session import connect_to_read

    filter = Filter(kind=kind, path=path or None, model=model or None, coverage=coverage or None, run=run or None)
    with connect_to_read(settings.load().database).read() as connection:
        check_filter(connection, filter)
        rows = count_genres(connection, filter)
    if as_json:
        console.print_json(rows)
    else:
        print_genres("", rows)


def print_genres(title: str, rows: "Sequence[GenreRow]") -> None:
    """Print the table of a collection's genres, with the model where there are several."""
    several = len({row["model"] for row in rows}) > 1
    columns = (*(["model"] if several else []), "genre", "tracks", "mean probability")
    lines = [
        (*([row["model"]] if several else []), row["genre"], row["tracks"], f"{row['mean_probability']:.3f}")
        for row in rows
    ]
    console.print_table(title, columns, lines, right=("tracks", "mean probability"))
