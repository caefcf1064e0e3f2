"""`genremill libraries`: which folders of music are known, and what becomes of those that were moved or are gone."""

import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import settings
from genremill import console
from genremill.commands.options import AsJson

if TYPE_CHECKING:
    from db.libraries import LibraryRow

app = typer.Typer(help="List, move and forget libraries.", no_args_is_help=True)


@app.command("list")
def list_libraries(as_json: AsJson = False) -> None:
    """List the libraries, and how many tracks each has.

    One whose folder is gone is named so. When a scan finds that, too, its tracks are left out of all other lists, until
    a scan finds it again.
    """
    from db.session import connect_to_read
    from producer import libraries

    with closing(connect_to_read(settings.load().database)) as database:
        rows = [_describe(row, is_gone) for row, is_gone in libraries.list_libraries(database)]
    if as_json:
        console.print_json(rows)
    elif not rows:
        console.out.print("no libraries yet: `genremill run FOLDER` makes one")
    else:
        columns = ("library", "tracks", "missing", "last scan", "state")
        table = [
            (
                row["root"],
                row["tracks"],
                row["missing"],
                row["scanned_at"] and f"{row['scanned_at']:%Y-%m-%d %H:%M}",
                "gone" if row["gone"] else "",
            )
            for row in rows
        ]
        console.print_table("", columns, table, right=("tracks", "missing"))


def _describe(row: "LibraryRow", is_gone: bool) -> dict[str, object]:
    """A library as `--json` prints it."""
    return {
        "root": row.root,
        "tracks": row.tracks,
        "missing": row.missing,
        "scanned_at": row.scanned_at,
        "gone": is_gone,
    }


@app.command("move")
def move(
    old: Annotated[Path, typer.Argument(help="folder that the library had", metavar="OLD")],
    new: Annotated[Path, typer.Argument(help="folder that it has now", metavar="NEW")],
    as_json: AsJson = False,
) -> None:
    """Say that the folder of a library is another one now.

    Nothing is analysed again. If NEW is known already, both become one library, and tracks of the same path become one.
    Move the files first: this command does not touch them.
    """
    from db.session import connect_to_read
    from producer.libraries import move_library

    with closing(connect_to_read(settings.load().database)) as database:
        root = move_library(database, old, new)
    if as_json:
        console.print_json({"root": root})
    else:
        _print_line(f"the library is {console.printable(root)} now")


@app.command("forget")
def forget(
    path: Annotated[Path, typer.Argument(help="folder or file to forget", metavar="PATH")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete what is known of a library, or of a part of it.

    The tracks are deleted from the database with their genres and embeddings. The files stay as they are: `genremill
    run` would analyse them anew.
    """
    from db.session import connect_to_read
    from producer.libraries import count_tracks, find_parts, forget_parts

    with closing(connect_to_read(settings.load().database)) as database:
        parts = find_parts(database, path)
        if not yes and not _confirm(f"forget {_count(count_tracks(database, parts))} of {path}, with their genres?"):
            console.say("nothing was forgotten")
            return
        _print_deleted(forget_parts(database, parts), "forgotten", as_json)


def _confirm(question: str) -> bool:
    console.err.print(f"{console.printable(question)} [y/N] ", end="", markup=False, soft_wrap=True)
    answer = sys.stdin.readline()
    if not answer:  # Nobody is there.
        raise settings.GenremillError("nothing was forgotten, since nobody answered: give --yes to do it")
    return answer.strip().lower() in ("y", "yes")


@app.command("prune")
def prune(
    older_than: Annotated[
        float, typer.Option(metavar="DAYS", min=0, help="only tracks that are missing for longer", show_default="0")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Delete what is known of tracks whose files are gone.

    Those of a library whose folder is gone as a whole stay: `genremill libraries move` or `forget` is for these.
    """
    from db.session import connect_to_read
    from db.types import now
    from producer import libraries

    with closing(connect_to_read(settings.load().database)) as database:
        _print_deleted(libraries.prune(database, now() - timedelta(days=older_than)), "pruned", as_json)


def _print_deleted(tracks: int, what: str, as_json: bool) -> None:
    if as_json:
        console.print_json({"tracks": tracks})
        return
    _print_line(f"{_count(tracks)} {what}")
    if tracks:
        console.say("`genremill db vacuum` gives their space back")


def _count(tracks: int) -> str:
    return "1 track" if tracks == 1 else f"{tracks} tracks"


def _print_line(text: str) -> None:
    """Print a line that may be long: without line breaks."""
    console.out.print(console.printable(text), soft_wrap=True, markup=False)
