"""`python -m producer`: scan libraries and queue their tracks."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import console
import settings

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

Paths = Annotated[list[Path], typer.Argument(help="folders of music")]
ModelName = Annotated[str, typer.Option("--model", help="the model; default: GENREMILL_MODEL, or musicnn")]
Coverage = Annotated[str, typer.Option(help="regions: three of a track; full: all of it")]
Exclude = Annotated[list[str], typer.Option(help="leave out what this glob matches; may be given again")]
Retry = Annotated[bool, typer.Option("--retry", help="analyse again what failed before")]
AsJson = Annotated[bool, typer.Option("--json", help="for scripts")]


def make_order(paths: list[Path], model: str, coverage: str, exclude: list[str], retry: bool, queue: str | None = None):
    """The order that the options describe. Raises GenremillError for what is not there."""
    from producer.dispatch import Order, check_roots
    from worker import checkpoints

    config = settings.load()
    chosen = coverage or config.coverage
    if chosen not in ("regions", "full"):
        raise settings.GenremillError(f"there is no coverage {chosen!r}: use regions or full")
    return Order(
        check_roots(paths),
        checkpoints.find(model or config.model),
        chosen,
        tuple(exclude),
        config.job_tracks,
        queue,
        retry,
    )


@app.command()
def enqueue(
    paths: Paths,
    model: ModelName = "",
    coverage: Coverage = "",
    exclude: Exclude = [],  # noqa: B006 (typer reads it)
    queue: Annotated[str, typer.Option(help="fast or bulk; default: fast for small orders")] = "",
    retry: Retry = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="stay until it is done, and queue again what is lost")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="scan and say what would be queued")] = False,
    as_json: AsJson = False,
) -> None:
    """Scan libraries and queue what has no genres yet, for workers elsewhere."""
    from db import reports
    from db.session import connect
    from producer import dispatch
    from worker.celery import QUEUES

    if queue and queue not in QUEUES:
        raise settings.GenremillError(f"there is no queue {queue!r}: use {' or '.join(QUEUES)}")
    order = make_order(paths, model, coverage, exclude, retry, queue or None)
    database = connect(settings.load().database)
    if dry_run:
        _say_dry_run(order, as_json)
        return
    dispatch.check_broker()
    with console.ProgressLine() as line:
        run_id = dispatch.enqueue(database, order, lambda scan: line.scanned(scan.seen))
        if follow:
            _follow(database, run_id, order, line)
    with database.read() as connection:
        report = reports.read_run(connection, run_id)
    if as_json:
        console.print_json(report)
    else:
        console.out.print(f"run {run_id}: {console.balance(report.counts)}")


def _follow(database, run_id: int, order, line: console.ProgressLine) -> None:
    from producer.follow import follow

    for counts in follow(database, run_id, order):
        line.moved(counts)


def _say_dry_run(order, as_json: bool) -> None:
    from producer.walk import Found, walk

    counts = {str(root): sum(isinstance(e, Found) for e in walk(root, order.exclude)) for root in order.roots}
    if as_json:
        console.print_json(counts)
        return
    for root, count in counts.items():
        console.out.print(f"{console.printable(root)}: {count} audio files", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(console.guarded(app))
