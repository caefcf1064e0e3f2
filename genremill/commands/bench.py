"""`genremill bench`: how fast this machine is with a model."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import settings
from genremill import console
from genremill.bench.inputs import compose_files, list_audio_files
from genremill.commands.options import AsJson, DeviceName, ModelName
from settings import GenremillError

if TYPE_CHECKING:
    from genremill.bench.batches import BatchSeries
    from genremill.bench.files import FilesRow
    from genremill.bench.soak import Soak


def bench(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="folder of audio files to measure with", show_default="compose files"),
    ] = None,
    model: ModelName = "",
    device: DeviceName = "",
    files: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="files to measure: 1, 10, 100 up to these")] = 100,
    seconds: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="length of composed files")] = 30.0,
    naive_files: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="files to measure the naive pipeline with")
    ] = 10,
    soak: Annotated[
        float, typer.Option(min=0, metavar="MINUTES", help="keep the model busy instead; 0 means not to")
    ] = 0.0,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PNG file to draw the curves into", show_default="draw none")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how fast this machine is with a model.

    Measures batches of growing size, and whole files next to the naive pipeline, which is librosa and matplotlib on one
    file after the other. With --soak it keeps the model busy for minutes, and shows whether its memory grows.
    """
    from worker.gpu.devices import choose_devices
    from worker.models import registry

    config = settings.load()
    name = registry.find_model(model or config.model).name
    chosen_device = choose_devices(device or config.device)[0]
    os.environ.update(chosen_device.environment)  # Read when torch is imported: it sees this device alone.
    torch_name = chosen_device.torch_name
    report = _describe_target(name, torch_name)
    if soak:
        report |= _soak(name, torch_name, soak, plot, as_json)
    else:
        paths = list_audio_files(folder, files) if folder else compose_files(config.data_dir / "bench", files, seconds)
        report |= _measure_batches(name, torch_name, plot, as_json)
        report |= _measure_files(name, torch_name, paths, naive_files, as_json)
    if as_json:
        console.print_json(report)


def _describe_target(name: str, device: str) -> dict[str, object]:
    """What is measured, and on which machine, for the report. Says it on stderr, too."""
    from genremill.bench.target import describe_machine
    from worker.models import checkpoints

    weights = None
    try:
        weights = checkpoints.find_checkpoint(name).sha256
    except GenremillError as error:
        console.say(f"random weights, which are as fast: {error}")
    machine = describe_machine(device)
    console.say(f"{name} on {machine['gpu'] or machine['cpu']}, {machine['cores']} cores, torch {machine['torch']}")
    return {"machine": machine, "model": name, "weights": weights}


def _measure_batches(name: str, device: str, plot: Path | None, as_json: bool) -> dict[str, object]:
    from genremill.bench.batches import measure_batches
    from genremill.bench.plot import plot_batches
    from genremill.bench.target import list_targets

    series = []
    for target in list_targets(device):
        console.say(f"batches of growing size on the {target}")
        series.append(measure_batches(name, target))
    if not as_json:
        _print_batches(series)
    if plot:
        plot_batches(series, name, plot)
    return {"batches": series}


def _measure_files(name: str, device: str, paths: Sequence[Path], naive_files: int, as_json: bool) -> dict[str, object]:
    from genremill.bench.files import compare, measure_naive, measure_pipeline
    from genremill.bench.target import Target, list_targets

    rows = []
    for target in dict.fromkeys([Target("cpu"), *list_targets(device)]):  # Each target once, in this order.
        console.say(f"{len(paths)} files on the {target}")
        rows += measure_pipeline(name, target, paths)
    for target in dict.fromkeys([Target("cpu"), Target(device)]):
        console.say(f"{min(naive_files, len(paths))} files through the naive pipeline on the {target}")
        rows += measure_naive(name, target, paths, naive_files)
    compared = compare(rows)
    if not as_json:
        _print_files(compared)
    return {"files": compared}


def _soak(name: str, device: str, minutes: float, plot: Path | None, as_json: bool) -> dict[str, object]:
    from genremill.bench.plot import plot_soak
    from genremill.bench.soak import measure_soak
    from genremill.bench.target import list_targets

    result = measure_soak(name, list_targets(device)[-1], minutes)
    if plot:
        plot_soak(result, name, plot)
    if not as_json:
        _print_soak(result)
    return {"soak": result}


def _print_batches(series: "Sequence[BatchSeries]") -> None:
    for one in series:
        memory = "VRAM" if one.device == "GPU" else "RSS"
        columns = ("batch", "ms", "windows/s", "tracks/s", f"{memory} peak MiB", f"{memory} mean MiB")
        rows = [
            (
                point.batch,
                f"{point.latency_ms:.1f}",
                f"{point.windows_per_s:.1f}",
                f"{point.tracks_per_s:.1f}",
                f"{point.peak_mib:.0f}",
                f"{point.mean_mib:.0f}",
            )
            for point in one.points
        ]
        core = "" if one.device == "GPU" else ", one core"
        console.print_table(f"Batches: {one.device}, {one.precision}{core}", columns, rows, right=columns)
        console.out.print(f"{one.end}\n")


def _print_files(rows: "Sequence[FilesRow]") -> None:
    way = ""  # The heading of the column that says which pipeline, device and precision.
    columns = ("files", way, "s", "tracks/s", "times naive", "failed")
    table = [
        (
            row.files,
            f"{row.way}, {row.device} {row.precision}",
            f"{row.seconds:.2f}",
            f"{row.tracks_per_s:.2f}",
            f"{row.times_naive:.1f}",
            row.failed or "",
        )
        for row in rows
    ]
    console.print_table("Files", columns, table, right=[column for column in columns if column != way])
    measured = next(row.measured for row in rows if row.way == "naive")
    console.out.print(f"naive: librosa and matplotlib, one file after the other; its rate is that of {measured} files")


def _print_soak(soak: "Soak") -> None:
    memory = ""  # The heading of the column that says which memory.
    columns = (memory, "settled MiB", "end MiB", "drift %", "peak MiB")
    rows = [
        (
            drift.memory,
            f"{drift.settled_mib:.0f}",
            f"{drift.end_mib:.0f}",
            f"{drift.drift_percent:+.1f}",
            f"{drift.peak_mib:.0f}",
        )
        for drift in soak.drifts
    ]
    minutes = soak.samples[-1].at_s / 60
    console.print_table(f"{minutes:.1f} minutes on the {soak.device}, {soak.precision}", columns, rows, columns[1:])
    console.out.print(
        f"{soak.first_windows_per_s:.1f} windows/s in the first {soak.settle_s:.0f} s, "
        f"{soak.last_windows_per_s:.1f} in the last"
    )
