"""`genremill bench`: what this machine does with a model."""

import os
from pathlib import Path
from typing import Annotated

import typer

import settings
from genremill import console
from genremill.bench.inputs import audio_files, compose
from settings import GenremillError


def bench(
    folder: Annotated[Path | None, typer.Argument(help="audio files to measure with; default: composed ones")] = None,
    model: Annotated[str, typer.Option(help="the model; default: GENREMILL_MODEL, or musicnn")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or cuda: and a number")] = "",
    files: Annotated[int, typer.Option(min=1, help="the most files: 1, 10, 100 up to this")] = 100,
    seconds: Annotated[float, typer.Option(min=1, help="length of composed files")] = 30.0,
    naive_files: Annotated[int, typer.Option(min=1, help="the most files for the naive pipeline")] = 10,
    soak: Annotated[float, typer.Option(min=0, help="instead: keep the engine busy for so many minutes")] = 0.0,
    plot: Annotated[Path | None, typer.Option(help="a PNG file for the curves")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for scripts")] = False,
) -> None:
    """Measure this machine: batch sizes, files beside the naive pipeline, or with --soak its memory over time."""
    from worker.gpu import devices
    from worker.models import registry

    config = settings.load()
    name = registry.find_model(model or config.model).name
    chosen = devices.choose_devices(device or config.device)[0]
    os.environ.update(chosen.environment)  # before torch is there: pinned, as a worker is
    report = _about(name, chosen.torch_name)
    if soak:
        report |= _soak(name, chosen.torch_name, soak, plot, as_json)
    else:
        paths = audio_files(folder, files) if folder else compose(config.data_dir / "bench", files, seconds)
        report |= _tables(name, chosen.torch_name, paths, naive_files, plot, as_json)
    if as_json:
        console.print_json(report)


def _about(name: str, device: str) -> dict:
    """What is measured, and on what."""
    from genremill.bench.target import machine
    from worker.models import checkpoints

    about = {"machine": machine(device), "model": name, "weights": None}
    try:
        about["weights"] = checkpoints.find_checkpoint(name).sha256
    except GenremillError as error:
        console.say(f"random weights, which are as fast: {error}")
    here = about["machine"]
    console.say(f"{name} on {here['gpu'] or here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    return about


def _tables(name: str, device: str, paths: list[Path], naive_files: int, plot: Path | None, as_json: bool) -> dict:
    from genremill.bench import batches, files
    from genremill.bench import plot as plots
    from genremill.bench.target import Mode, modes

    series, rows = [], []
    for mode in modes(device):
        console.say(f"batches of growing size on the {mode}")
        series.append(batches.measure(name, mode))
    if not as_json:
        _print_batches(series)
    if plot:
        plots.plot_batches(series, name, plot)
    for mode in dict.fromkeys([Mode("cpu"), *modes(device)]):
        console.say(f"{len(paths)} files on the {mode}")
        rows += files.measure(name, mode, paths)
    for mode in dict.fromkeys([Mode("cpu"), Mode(device)]):
        console.say(f"{min(naive_files, len(paths))} files through the naive pipeline on the {mode}")
        rows += files.measure_naive(name, mode, paths, naive_files)
    rows = files.compare(rows)
    if not as_json:
        _print_files(rows)
    return {"batches": series, "files": rows}


def _soak(name: str, device: str, minutes: float, plot: Path | None, as_json: bool) -> dict:
    from genremill.bench import plot as plots
    from genremill.bench import soak
    from genremill.bench.target import modes

    result = soak.soak(name, modes(device)[-1], minutes)
    if plot:
        plots.plot_soak(result, name, plot)
    if not as_json:
        _print_soak(result)
    return {"soak": result}


def _rounded(digits: int, *values: float) -> list[str]:
    return [f"{value:.{digits}f}" for value in values]


def _print_batches(series) -> None:
    for one in series:
        memory = "VRAM" if one.device == "GPU" else "RSS"
        columns = ("batch", "ms", "windows/s", "tracks/s", f"{memory} peak MiB", f"{memory} mean MiB")
        rows = [
            (p.batch, *_rounded(1, p.latency_ms, p.windows_per_s, p.tracks_per_s), *_rounded(0, p.peak_mib, p.mean_mib))
            for p in one.points
        ]
        core = "" if one.device == "GPU" else ", one core"
        console.print_table(f"Batches: {one.device}, {one.precision}{core}", columns, rows, right=columns)
        console.out.print(f"{one.end}\n")


def _print_files(rows) -> None:
    columns = ("files", "", "s", "tracks/s", "times naive", "failed")
    table = [
        (
            row.files,
            f"{row.way}, {row.device} {row.precision}",
            *_rounded(2, row.seconds, row.tracks_per_s),
            *_rounded(1, row.times_naive),
            row.failed or "",
        )
        for row in rows
    ]
    console.print_table("Files", columns, table, right=(*columns[:1], *columns[2:]))
    measured = next(row.measured for row in rows if row.way == "naive")
    console.out.print(f"naive: librosa and matplotlib, one file after the other; its rate is that of {measured} files")


def _print_soak(soak) -> None:
    columns = ("", "settled MiB", "end MiB", "drift %", "peak MiB")
    rows = [
        (d.memory, *_rounded(0, d.settled_mib, d.end_mib), f"{d.drift_percent:+.1f}", *_rounded(0, d.peak_mib))
        for d in soak.drifts
    ]
    minutes = soak.samples[-1].at_s / 60
    console.print_table(f"{minutes:.1f} minutes on the {soak.device}, {soak.precision}", columns, rows, columns[1:])
    console.out.print(
        f"{soak.first_windows_per_s:.1f} windows/s in the first {soak.settle_s:.0f} s, "
        f"{soak.last_windows_per_s:.1f} in the last"
    )
