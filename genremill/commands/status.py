"""`genremill status`: how far each run is."""

import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

import settings
from db.paths import path_text
from genremill import console
from genremill.commands.options import AsJson, Limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.reports import RunReport
    from db.session import Database

WATCH_INTERVAL_S = 1.0  # Seconds between two tables of `status --watch`, at least.
WATCH_PAUSE_RATIO = 50  # The pause after a table is at least so many times as long as reading it took.


def status(
    watch: Annotated[bool, typer.Option("--watch", help="print it again every second, until Ctrl-C")] = False,
    limit: Limit = 10,
    as_json: AsJson = False,
) -> None:
    """Show how far each run is, the newest run first."""
    from db.session import connect_to_read

    database = connect_to_read(settings.load().database)
    _print_status(database, limit, as_json)
    with contextlib.suppress(KeyboardInterrupt):
        while watch:
            time.sleep(WATCH_INTERVAL_S)
            start = time.monotonic()
            _print_status(database, limit, as_json)
            time.sleep(WATCH_PAUSE_RATIO * (time.monotonic() - start))


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
