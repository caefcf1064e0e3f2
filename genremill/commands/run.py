"""`genremill run`: everything on this machine, from the scan to a summary."""

from typing import Annotated

import typer

import settings
from genremill import console
from genremill.commands.options import Amp, AsJson, Coverage, DeviceName, Exclude, ModelName, Paths, Retry, make_order

MOST_ERRORS = 20  # in the summary
MOST_GENRES = 12


def run(
    paths: Paths,
    model: ModelName = "",
    coverage: Coverage = "",
    exclude: Exclude = [],  # noqa: B006 (typer reads it)
    retry: Retry = False,
    device: DeviceName = "",
    amp: Amp = "",
    stay: Annotated[bool, typer.Option("--stay", help="keep Flower up after the end, until Ctrl-C")] = False,
    as_json: AsJson = False,
) -> None:
    """Do everything on this machine: scan, queue, workers, Flower, progress, a summary. Goes on where it was."""
    from genremill import local_stack

    config = settings.override(device=device, amp=amp)
    order = make_order(paths, model, coverage, exclude, retry)
    with console.ProgressLine() as line:
        database, run_id = local_stack.run(config, order, _Watcher(line), stay)
    summary = _summarise(database, run_id, order)
    if as_json:
        console.print_json(summary)
    else:
        _print_summary(summary, database, order)
    if not summary["run"].counts.balanced:
        console.err.print(f"genremill: the count is wrong: {console.balance(summary['run'].counts)}; please report it")
        raise SystemExit(1)


class _Watcher:
    """Shows a run's progress on the terminal."""

    def __init__(self, line: console.ProgressLine):
        self._line = line
        self.say = line.say
        self.moved = line.moved

    def started(self, flower_url: str) -> None:
        self._line.say(f"Flower: {flower_url}")

    def scanned(self, scan) -> None:
        self._line.scanned(scan.seen)


def _summarise(database, run_id: int, order) -> dict:
    from db import reports

    roots = tuple(str(root).encode("utf-8", "surrogateescape") for root in order.roots)
    which = reports.Filter(roots=roots, model=order.checkpoint.name)
    with database.read() as connection:
        return {
            "run": reports.read_run(connection, run_id),
            "genres": reports.count_genres(connection, which),
            "errors": [row for row in reports.read_errors(connection, None) if row["path"].startswith(roots)],
            "database": str(database.file or database.address),
        }


def _print_summary(summary: dict, database, order) -> None:
    from genremill.commands.reports import print_errors, print_genres

    counts = summary["run"].counts
    print_genres("Genres (tracks by their first genre)", [g for g in summary["genres"] if g["tracks"]][:MOST_GENRES])
    console.out.print()
    if summary["errors"]:
        print_errors(f"Failed: {len(summary['errors'])}", summary["errors"][:MOST_ERRORS])
        console.out.print()
    if counts.found == counts.skipped:
        console.out.print("Nothing new: every track had been analysed before.")
    console.out.print(f"Tracks:   {console.balance(counts)}")
    console.out.print(f"Database: {summary['database']}", soft_wrap=True, markup=False)
    query = "SELECT path, genre, probability FROM track_genre WHERE rank = 1 ORDER BY genre, probability DESC"
    client = f'sqlite3 "{database.file}"' if database.file else f'psql "{database.address}" -c'
    console.out.print(f'Query:    {client} "{query}"', soft_wrap=True, markup=False)
