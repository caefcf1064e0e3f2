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
Limit = Annotated[int, typer.Option(metavar="NUMBER", help="rows at most; 0 means all of them")]
PathPart = Annotated[
    str,
    typer.Option(
        "--path",
        metavar="TEXT",
        help="only tracks whose path has this text in it; or a folder or file, by its absolute path",
        show_default="all tracks",
    ),
]
OnlyModel = Annotated[
    str,
    typer.Option("--model", metavar="NAME", help="only analyses by this model", show_default="each track's newest"),
]
OnlyCoverage = Annotated[
    str,
    typer.Option(
        "--coverage",
        metavar="regions|full",
        help="only analyses with this coverage",
        show_default="each track's newest",
    ),
]
OnlyRun = Annotated[
    int,
    typer.Option("--run", metavar="NUMBER", help="only tracks that this run analysed", show_default="all runs"),
]
Kind = Annotated[str, typer.Option(metavar="KIND", help="genre, mood, era, instrument or voice")]
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

    Raises GenremillError for a model or a coverage that does not exist, and when none of the folders does.
    """
    from producer.order import Order, check_roots, split_gone
    from worker.models import checkpoints

    config = settings.load()
    chosen_coverage = coverage or config.coverage
    if chosen_coverage not in ("regions", "full"):
        raise settings.GenremillError(f"there is no coverage {chosen_coverage!r}: use regions or full")
    there, gone = split_gone(folders)
    return Order(
        check_roots(there),
        checkpoints.find_checkpoint(model or config.model),
        chosen_coverage,
        tuple(exclude or ()),
        config.job_tracks,
        queue,
        retry,
        gone,
    )
