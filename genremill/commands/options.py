"""Options that several commands have."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import settings

if TYPE_CHECKING:
    from producer.order import Order

Paths = Annotated[list[Path], typer.Argument(help="folders of music")]
ModelName = Annotated[str, typer.Option("--model", help="the model; default: GENREMILL_MODEL, or musicnn")]
Coverage = Annotated[str, typer.Option(help="regions: three of a track; full: all of it")]
Exclude = Annotated[list[str], typer.Option(help="leave out what this glob matches; may be given again")]
Retry = Annotated[bool, typer.Option("--retry", help="analyse again what failed before")]
AsJson = Annotated[bool, typer.Option("--json", help="for scripts")]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:0,2, or UUIDs of GPUs")]
Amp = Annotated[str, typer.Option(help="numbers on a GPU: auto, bf16, fp16, or off for float32")]


def make_order(
    paths: list[Path], model: str, coverage: str, exclude: list[str], retry: bool, queue: str | None = None
) -> "Order":
    """The order that the options describe. Raises GenremillError for what is not there."""
    from producer.order import Order, check_roots
    from worker.models import checkpoints

    config = settings.load()
    chosen = coverage or config.coverage
    if chosen not in ("regions", "full"):
        raise settings.GenremillError(f"there is no coverage {chosen!r}: use regions or full")
    return Order(
        check_roots(paths),
        checkpoints.find_checkpoint(model or config.model),
        chosen,
        tuple(exclude),
        config.job_tracks,
        queue,
        retry,
    )
