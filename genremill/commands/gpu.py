"""`genremill gpu`: the GPUs of this host and the workers, live."""

import contextlib
import time
from typing import Annotated

import typer

from genremill import console
from genremill.commands.options import AsJson


def gpu(
    watch: Annotated[bool, typer.Option("--watch", help="again every second, until Ctrl-C")] = False,
    as_json: AsJson = False,
) -> None:
    """This host's GPUs and every worker that answers: VRAM over time, processes, batches, windows per second."""
    from genremill import gpu_view

    view = gpu_view.View()
    if as_json:
        console.print_json(view.look())
    elif watch:
        _watch_gpus(view)
    else:
        console.out.print(gpu_view.render(view.look(), console.out.width))


def _watch_gpus(view) -> None:
    from rich.live import Live

    from genremill.gpu_view import render

    with Live(console=console.out, auto_refresh=False) as live, contextlib.suppress(KeyboardInterrupt):
        while True:
            due = time.monotonic() + 1
            live.update(render(view.look(), console.out.width), refresh=True)
            time.sleep(max(0.0, due - time.monotonic()))
