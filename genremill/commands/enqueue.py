"""`genremill enqueue`: scan folders and queue their tracks."""

from typing import TYPE_CHECKING, Annotated

import typer

import settings
from genremill import console
from genremill.commands.options import AsJson, Coverage, Exclude, Folders, ModelName, Retry, make_order

if TYPE_CHECKING:
    from producer.order import Order


def enqueue(
    folders: Folders,
    model: ModelName = "",
    coverage: Coverage = "",
    exclude: Exclude = None,
    queue: Annotated[
        str, typer.Option(metavar="fast|bulk", help="queue to use", show_default="fast for small orders, else bulk")
    ] = "",
    retry: Retry = False,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="stay until all tracks are done: fill the queue as it gets empty, and queue lost jobs again",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="count the audio files and queue nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Scan folders and queue their new tracks for workers.

    The workers run elsewhere: start them with `genremill worker`. Redis has to be running, see GENREMILL_BROKER_URL.
    Without --follow it gets a message for each job at once, since nobody stays to send more of them later.
    """
    from worker.celery import QUEUES

    if queue and queue not in QUEUES:
        raise settings.GenremillError(f"there is no queue {queue!r}: use {' or '.join(QUEUES)}")
    order = make_order(folders, model=model, coverage=coverage, exclude=exclude, retry=retry, queue=queue or None)
    if dry_run:
        _print_dry_run(order, as_json)
    else:
        _scan_and_queue(order, follow, as_json)


def _scan_and_queue(order: "Order", stay: bool, as_json: bool) -> None:
    from db import reports
    from db.session import connect
    from producer.enqueue import enqueue as scan_and_queue
    from producer.follow import follow
    from worker.celery import check_broker

    database = connect(settings.load().database, console.say)
    check_broker()
    with console.ProgressLine() as progress:
        run_id = scan_and_queue(database, order, lambda scan: progress.show_scan(scan.seen), followed=stay)
        if stay:
            for counts in follow(database, run_id, order):
                progress.show_counts(counts)
    with database.read() as connection:
        report = reports.read_run(connection, run_id)
    if as_json:
        console.print_json(report)
    else:
        console.out.print(f"run {run_id}: {console.format_counts(report.counts)}")


def _print_dry_run(order: "Order", as_json: bool) -> None:
    from producer.walk import Found, walk

    for folder in order.gone:
        raise settings.GenremillError(f"{folder} does not exist: nothing can be counted there")
    counts = {str(root): sum(isinstance(item, Found) for item in walk(root, order.exclude)) for root in order.roots}
    if as_json:
        console.print_json(counts)
        return
    for root, count in counts.items():
        console.out.print(f"{console.printable(root)}: {count} audio files", soft_wrap=True, markup=False)
