"""The `genremill` command: mounts what producer, worker and db offer, and `run` and `doctor`."""

import signal
import sys
from typing import Annotated

import typer

import console
import settings
from db.__main__ import app as db_commands
from producer.__main__ import AsJson, Coverage, Exclude, ModelName, Paths, Retry, make_order
from producer.__main__ import app as producer_commands
from worker.__main__ import Amp, DeviceName
from worker.__main__ import app as worker_commands

MOST_ERRORS = 20  # in the summary
MOST_GENRES = 12

app = typer.Typer(
    help="Genre probabilities on every track of a music collection.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
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
    import local

    config = settings.override(device=device, amp=amp)
    order = make_order(paths, model, coverage, exclude, retry)
    with console.ProgressLine() as line:
        database, run_id = local.run(config, order, _Watcher(line), stay)
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
    from db.__main__ import print_errors, print_genres

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


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Is everything here that a run needs? What would it use?"""
    import doctor as examination

    findings = examination.examine(settings.load())
    if as_json:
        console.print_json(findings)
    else:
        rows = [("ok" if f.ok else "MISSING", f.what, f.detail) for f in findings]
        console.print_table("", ("", "what", "found"), rows)
    if not all(finding.ok for finding in findings):
        raise SystemExit(1)


for part in (producer_commands, worker_commands, db_commands):
    app.registered_commands.extend(part.registered_commands)
    app.registered_groups.extend(part.registered_groups)


def main() -> None:
    """The console script. SIGTERM ends a command as Ctrl-C does: in good order."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(console.guarded(app))


if __name__ == "__main__":
    main()
