"""`genremill gpu`: the GPUs of this machine and the workers, live."""

import contextlib
import time
from typing import TYPE_CHECKING, Annotated

import typer

from genremill import console
from genremill.commands.options import AsJson

if TYPE_CHECKING:
    from genremill.gpu_view import View

REFRESH_INTERVAL_S = 1.0


def gpu(
    watch: Annotated[bool, typer.Option("--watch", help="show it again every second, until Ctrl-C")] = False,
    as_json: AsJson = False,
) -> None:
    """Show this machine's GPUs, and all workers that answer.

    For a GPU: its memory over time, and the processes that use it. For a worker, wherever it runs: its device's memory
    over time, its batches, and how many windows it analyses per second.
    """
    from genremill import gpu_view

    view = gpu_view.View()
    if as_json:
        console.print_json(view.look())
    elif watch:
        _watch(view)
    else:
        console.out.print(gpu_view.render(view.look(), console.out.width))


def _watch(view: "View") -> None:
    from rich.live import Live

    from genremill.gpu_view import render

    with Live(console=console.out, auto_refresh=False) as live, contextlib.suppress(KeyboardInterrupt):
        while True:
            next_refresh = time.monotonic() + REFRESH_INTERVAL_S
            live.update(render(view.look(), console.out.width), refresh=True)
            time.sleep(max(0.0, next_refresh - time.monotonic()))
