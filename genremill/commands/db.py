"""`genremill db`: what the database itself needs: a newer version's tables, a look for damage, its space back."""

from contextlib import closing

import typer

import settings
from genremill import console
from genremill.commands.options import AsJson

BYTES_PER_MIB = 1 << 20

app = typer.Typer(help="Look after the database.", no_args_is_help=True)


@app.command("upgrade")
def upgrade(as_json: AsJson = False) -> None:
    """Bring the tables to this version of genremill.

    `genremill run`, `enqueue` and `worker` do the same when they start. An upgrade that was cut off goes on where it
    was when the same command is given again. A database that is not there yet is made.
    """
    from db.revisions import NoDatabaseError, newest, read_revision
    from db.session import connect, connect_as_it_is

    url = settings.load().database
    before = None
    try:
        with closing(connect_as_it_is(url)) as database, database.read() as connection:
            before = read_revision(connection)
    except NoDatabaseError:
        console.say("making the tables")
    with closing(connect(url, console.say)) as database:
        address = database.address
    if as_json:
        console.print_json({"database": address, "before": before, "after": newest()})
    elif before == newest():
        _print_line(f"nothing to do: {address} is at revision {newest()}")
    else:
        _print_line(f"done: {address} is at revision {newest()}")


@app.command("check")
def check(as_json: AsJson = False) -> None:
    """Look for what is wrong with the database.

    Looks at all of it: SQLite's own check of its file, the version of the tables, runs whose tracks do not add up, and
    rows that belong to rows which are gone. Exits with code 1 when something is wrong. Nothing is changed.
    """
    from db.integrity import find_problems
    from db.session import connect_as_it_is

    with closing(connect_as_it_is(settings.load().database)) as database:
        address, problems = database.address, list(find_problems(database))
    if as_json:
        console.print_json({"database": address, "problems": problems})
    else:
        for problem in problems or [f"nothing is wrong with {address}"]:
            _print_line(problem)
    if problems:
        raise SystemExit(1)


@app.command("vacuum")
def vacuum(as_json: AsJson = False) -> None:
    """Give back the space of rows that were deleted.

    With SQLite no run may go on meanwhile, and it takes as much free space as the database has. With PostgreSQL others
    may work; other rows get the space.
    """
    from db import vacuum
    from db.session import connect_as_it_is

    with closing(connect_as_it_is(settings.load().database)) as database:
        address, sizes = database.address, vacuum.vacuum(database)
    if as_json:
        console.print_json({"database": address, **vars(sizes)})
        return
    _print_line(f"{address}: {_format_size(sizes.before_bytes)} before, {_format_size(sizes.after_bytes)} after")
    if not sizes.complete:
        _print_line("others are reading the database: its file gets smaller when they have ended")


def _format_size(size_bytes: int) -> str:
    return f"{size_bytes / BYTES_PER_MIB:,.1f} MiB"


def _print_line(text: str) -> None:
    """Print a line that may be long: without line breaks."""
    console.out.print(console.printable(text), soft_wrap=True, markup=False)
