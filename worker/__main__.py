"""`python -m worker`: pinned workers for every GPU of this host, or one for the CPU."""

import contextlib
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

import console
import settings
from worker.bench.__main__ import bench

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:0,2, or UUIDs of GPUs")]
Amp = Annotated[str, typer.Option(help="numbers on a GPU: auto, bf16, fp16, or off for float32")]


@app.command()
def worker(
    device: DeviceName = "",
    amp: Amp = "",
) -> None:
    """Work: one pinned worker process for every GPU of this host, or one for the CPU, until a signal stops them."""
    from db.session import connect
    from producer.dispatch import check_broker
    from worker import launch

    config = settings.override(device=device, amp=amp)
    check_broker()
    connect(config.database).close()
    devices = launch.choose_devices(config.device)
    if config.device != "cpu" and devices[0].torch_name == "cpu":
        console.err.print("no GPU: one worker on the CPU")
    raise SystemExit(launch.run_workers(devices, config.log_level))


models_app = typer.Typer(help="The models, and their weights.", no_args_is_help=True)
app.add_typer(models_app, name="models")
AsJson = Annotated[bool, typer.Option("--json", help="for scripts")]


@models_app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """The models there are, and whether their weights are here."""
    from worker import checkpoints, models

    rows = []
    for entry in models.every():
        try:
            found, weights = checkpoints.find(entry.name), ""
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


@models_app.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(help="a state dict: torch.save (save.pt) or safetensors")],
    model: Annotated[str, typer.Option(help="the model they are for; default: the one they fit")] = "",
    labels: Annotated[
        Path | None, typer.Option(help="a file with a label on each line, in the order of the network's outputs")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the weights in a file against a model, and store them in the data folder."""
    from worker import weights

    _say_imported(weights.import_weights(file, model, labels), as_json)


@models_app.command("fetch")
def fetch_weights(
    name: Annotated[str, typer.Argument(help="the model")],
    as_json: AsJson = False,
) -> None:
    """Download the published weights of a model from Hugging Face (or HF_ENDPOINT), check and store them."""
    from worker import weights

    _say_imported(weights.fetch_weights(name), as_json)


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


@app.command()
def gpu(
    watch: Annotated[bool, typer.Option("--watch", help="again every second, until Ctrl-C")] = False,
    as_json: AsJson = False,
) -> None:
    """This host's GPUs and every worker that answers: VRAM over time, processes, batches, windows per second."""
    from worker import gpu_view

    view = gpu_view.View()
    if as_json:
        console.print_json(view.look())
    elif watch:
        _watch_gpus(view)
    else:
        console.out.print(gpu_view.render(view.look(), console.out.width))


def _watch_gpus(view) -> None:
    from rich.live import Live

    from worker.gpu_view import render

    with Live(console=console.out, auto_refresh=False) as live, contextlib.suppress(KeyboardInterrupt):
        while True:
            due = time.monotonic() + 1
            live.update(render(view.look(), console.out.width), refresh=True)
            time.sleep(max(0.0, due - time.monotonic()))


app.command()(bench)


if __name__ == "__main__":
    sys.exit(console.guarded(app))
