"""Options that several commands share, and the order that they describe."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import settings

if TYPE_CHECKING:
    from producer.order import Order

Folders = Annotated[list[Path], typer.Argument(help="folders of music", metavar="FOLDER")]
ModelName = Annotated[
    str,
    typer.Option("--model", metavar="NAME", help="model to analyse with", show_default="GENREMILL_MODEL, else musicnn"),
]
Coverage = Annotated[
    str,
    typer.Option(
        metavar="regions|full",
        help="how much of a track is analysed: three regions, or all of it",
        show_default="GENREMILL_COVERAGE, else regions",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GLOB", help="leave out files and folders that match; may be repeated", show_default="nothing"
    ),
]
Retry = Annotated[bool, typer.Option("--retry", help="analyse tracks again that failed before")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON, for scripts")]
DeviceName = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto, cpu, cuda, cuda:0,2 or UUIDs of GPUs",
        show_default="GENREMILL_DEVICE, else auto",
    ),
]
Amp = Annotated[
    str,
    typer.Option(
        metavar="auto|bf16|fp16|off",
        help="number format on a GPU; off means float32",
        show_default="GENREMILL_AMP, else auto",
    ),
]


def make_order(
    folders: Sequence[Path],
    *,
    model: str,
    coverage: str,
    exclude: Sequence[str] | None,
    retry: bool,
    queue: str | None = None,
) -> "Order":
    """The order that the options describe. An empty model or coverage means the one of the settings.

    Raises GenremillError for a folder, a model or a coverage that does not exist.
    """
    from producer.order import Order, check_roots
    from worker.models import checkpoints

    config = settings.load()
    chosen_coverage = coverage or config.coverage
    if chosen_coverage not in ("regions", "full"):
        raise settings.GenremillError(f"there is no coverage {chosen_coverage!r}: use regions or full")
    return Order(
        check_roots(folders),
        checkpoints.find_checkpoint(model or config.model),
        chosen_coverage,
        tuple(exclude or ()),
        config.job_tracks,
        queue,
        retry,
    )
