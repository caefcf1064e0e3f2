"""The `genremill` command: one function for each of its commands, and the exit code."""

import signal
import sys

import typer

from genremill import console
from genremill.commands import (
    bench,
    db,
    doctor,
    enqueue,
    errors,
    genres,
    gpu,
    libraries,
    models,
    results,
    run,
    sample,
    status,
    worker,
)

app = typer.Typer(
    help="Genre probabilities on every track of a music collection.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    run.run,
    enqueue.enqueue,
    worker.worker,
    status.status,
    results.results,
    genres.genres,
    errors.errors,
    gpu.gpu,
    doctor.doctor,
    bench.bench,
    sample.sample,
):
    app.command()(command)
app.add_typer(libraries.app, name="libraries")
app.add_typer(models.app, name="models")
app.add_typer(db.app, name="db")


def main(*leading_arguments: str) -> None:
    """Run the command that the arguments of the command line name, after these ones, and exit with its code.

    SIGTERM ends a command as Ctrl-C does, so that it stops its processes.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments = [*leading_arguments, *sys.argv[1:]]
    sys.exit(console.guarded(lambda: app(arguments, prog_name="genremill")))
