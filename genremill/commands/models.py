"""`genremill models`: the networks there are, and how to get their weights."""

from pathlib import Path
from typing import Annotated

import typer

import settings
from genremill import console
from genremill.commands.options import AsJson

app = typer.Typer(help="The models, and their weights.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """The models there are, and whether their weights are here."""
    from worker.models import checkpoints, registry

    rows = []
    for entry in registry.list_models():
        try:
            found, weights = checkpoints.find_checkpoint(entry.name), ""
        except settings.GenremillError as error:
            found, weights = None, str(error).partition(": ")[2]
        rows.append(
            {
                "model": entry.name,
                "version": entry.version,
                "weights": found.sha256 if found else None,
                "file": str(found.path) if found else None,
                "missing": weights or None,
            }
        )
    if as_json:
        console.print_json(rows)
        return
    table = [(row["model"], row["version"], (row["weights"] or "none")[:12], row["missing"] or "") for row in rows]
    console.print_table("", ("model", "version", "weights", "get them with"), table)


@app.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(help="a state dict: torch.save (save.pt) or safetensors")],
    model: Annotated[str, typer.Option(help="the model they are for; default: the one they fit")] = "",
    labels: Annotated[
        Path | None, typer.Option(help="a file with a label on each line, in the order of the network's outputs")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the weights in a file against a model, and store them in the data folder."""
    from worker.models import weight_import

    _say_imported(weight_import.import_weights(file, model, labels), as_json)


@app.command("fetch")
def fetch_weights(
    name: Annotated[str, typer.Argument(help="the model")],
    as_json: AsJson = False,
) -> None:
    """Download the published weights of a model from Hugging Face (or HF_ENDPOINT), check and store them."""
    from worker.models import weight_import

    _say_imported(weight_import.fetch_weights(name), as_json)


def _say_imported(imported, as_json: bool) -> None:
    checkpoint = imported.checkpoint
    if as_json:
        console.print_json(
            {
                "model": checkpoint.name,
                "weights": checkpoint.sha256,
                "file": str(checkpoint.path),
                "classes": imported.classes,
                "left_out": imported.left_out,
            }
        )
        return
    console.out.print(f"{checkpoint.name}: {imported.classes} classes, weights {checkpoint.sha256[:12]}")
    if imported.left_out:
        console.out.print(f"{imported.left_out} parameters of the file were left out: the model does not have them")
    console.out.print(f"use them: genremill run FOLDER --model {checkpoint.name}")
