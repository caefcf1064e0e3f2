"""`genremill models`: the networks there are, and how to get their weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import settings
from genremill import console
from genremill.commands.options import AsJson

if TYPE_CHECKING:
    from worker.models.registry import ModelEntry
    from worker.models.weight_import import ImportResult

SHA256_DIGITS_SHOWN = 12  # Enough to tell weights apart in a table.

app = typer.Typer(help="List models, and get weights for them.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models, and whether their weights are here."""
    from worker.models import registry

    rows = [_describe_model(entry) for entry in registry.list_models()]
    if as_json:
        console.print_json(rows)
        return
    table = [
        (row["model"], row["version"], (row["weights"] or "none")[:SHA256_DIGITS_SHOWN], row["missing"]) for row in rows
    ]
    console.print_table("", ("model", "version", "weights", "get them with"), table)


def _describe_model(entry: "ModelEntry") -> dict[str, str | None]:
    """A row of the list. `missing` says how to get weights that are not here."""
    from worker.models import checkpoints

    row: dict[str, str | None] = {"model": entry.name, "version": entry.version}
    try:
        checkpoint = checkpoints.find_checkpoint(entry.name)
    except settings.GenremillError as error:
        return {**row, "weights": None, "file": None, "missing": str(error).partition(": ")[2] or None}
    return {**row, "weights": checkpoint.sha256, "file": str(checkpoint.path), "missing": None}


@app.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(help="a state dict, saved by torch.save or as safetensors", metavar="FILE")],
    model: Annotated[
        str, typer.Option(metavar="NAME", help="model that the weights are for", show_default="the model that they fit")
    ] = "",
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="file with one label per line, in the order of the network's outputs",
            show_default="the model's own labels",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a file of weights and store it for a model.

    The weights are stored in the data folder, and only if all of them fit the model. Code in the file is not run.
    """
    from worker.models import weight_import

    _print_import(weight_import.import_weights(file, model, labels), as_json)


@app.command("fetch")
def fetch_weights(
    name: Annotated[str, typer.Argument(help="name of the model, see `genremill models list`", metavar="MODEL")],
    as_json: AsJson = False,
) -> None:
    """Download a model's published weights.

    They come from Hugging Face, or from the server that HF_ENDPOINT names. They are checked and stored in the data
    folder. A download that was cut off goes on where it was when the same command is given again.
    """
    from worker.models import weight_import

    _print_import(weight_import.fetch_weights(name), as_json)


def _print_import(result: "ImportResult", as_json: bool) -> None:
    checkpoint = result.checkpoint
    if as_json:
        console.print_json(
            {
                "model": checkpoint.name,
                "weights": checkpoint.sha256,
                "file": str(checkpoint.path),
                "classes": result.classes,
                "left_out": result.left_out,
            }
        )
        return
    weights = checkpoint.sha256[:SHA256_DIGITS_SHOWN]
    console.out.print(f"{checkpoint.name}: {result.classes} classes, weights {weights}")
    if result.left_out:
        console.out.print(f"{result.left_out} parameters of the file were left out: the model does not have them")
    console.out.print(f"use them: genremill run FOLDER --model {checkpoint.name}")
