"""`genremill enqueue`: scan libraries and queue their tracks."""

from typing import Annotated

import typer

import settings
from genremill import console
from genremill.commands.options import AsJson, Coverage, Exclude, ModelName, Paths, Retry, make_order


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
    from producer.enqueue import enqueue as scan_and_queue
    from worker.celery import QUEUES, check_broker

    if queue and queue not in QUEUES:
        raise settings.GenremillError(f"there is no queue {queue!r}: use {' or '.join(QUEUES)}")
    order = make_order(paths, model, coverage, exclude, retry, queue or None)
    database = connect(settings.load().database)
    if dry_run:
        _say_dry_run(order, as_json)
        return
    check_broker()
    with console.ProgressLine() as line:
        run_id = scan_and_queue(database, order, lambda scan: line.scanned(scan.seen))
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
