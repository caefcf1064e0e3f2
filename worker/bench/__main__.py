"""`genremill bench`: what this machine does with a model."""

import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import typer

import console
import settings
from settings import GenremillError


def bench(
    folder: Annotated[Path | None, typer.Argument(help="audio files to measure with; default: composed ones")] = None,
    model: Annotated[str, typer.Option(help="the model; default: GENREMILL_MODEL, or musicnn")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or cuda: and a number")] = "",
    files: Annotated[int, typer.Option(min=1, help="the most files: 1, 10, 100 up to this")] = 100,
    seconds: Annotated[float, typer.Option(min=1, help="length of composed files")] = 30.0,
    naive_files: Annotated[int, typer.Option(min=1, help="the most files for the naive pipeline")] = 10,
    stage: Annotated[str, typer.Option(help="instead: only the CPU time of a stage: decode")] = "",
    soak: Annotated[float, typer.Option(min=0, help="instead: keep the engine busy for so many minutes")] = 0.0,
    plot: Annotated[Path | None, typer.Option(help="a PNG file for the curves")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for scripts")] = False,
) -> None:
    """Measure this machine: batch sizes, files beside the naive pipeline, with --soak its memory over time, or with
    --stage decode what the steps from a file to windows cost."""
    from worker import launch, models

    config = settings.load()
    name = models.find(model or config.model).name
    chosen = launch.choose_devices(device or config.device)[0]
    if stage:
        _stage(stage, name, chosen.torch_name, folder, files, as_json)
        return
    os.environ.update(chosen.environment)  # before torch is there: pinned, as a worker is
    report = _about(name, chosen.torch_name)
    if soak:
        report |= _soak(name, chosen.torch_name, soak, plot, as_json)
    else:
        paths = _audio_files(folder, files) if folder else compose(config.data_dir / "bench", files, seconds)
        report |= _tables(name, chosen.torch_name, paths, naive_files, plot, as_json)
    if as_json:
        console.print_json(report)


def _about(name: str, device: str) -> dict:
    """What is measured, and on what."""
    from worker import checkpoints
    from worker.bench.subject import machine

    about = {"machine": machine(device), "model": name, "weights": None}
    try:
        about["weights"] = checkpoints.find(name).sha256
    except GenremillError as error:
        _say(f"random weights, which are as fast: {error}")
    here = about["machine"]
    _say(f"{name} on {here['gpu'] or here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    return about


def _tables(name: str, device: str, paths: list[Path], naive_files: int, plot: Path | None, as_json: bool) -> dict:
    from worker.bench import batches, files
    from worker.bench import plot as plots
    from worker.bench.subject import Mode, modes

    series, rows = [], []
    for mode in modes(device):
        _say(f"batches of growing size on the {mode}")
        series.append(batches.measure(name, mode))
    if not as_json:
        _print_batches(series)
    if plot:
        plots.plot_batches(series, name, plot)
    for mode in dict.fromkeys([Mode("cpu"), *modes(device)]):
        _say(f"{len(paths)} files on the {mode}")
        rows += files.measure(name, mode, paths)
    for mode in dict.fromkeys([Mode("cpu"), Mode(device)]):
        _say(f"{min(naive_files, len(paths))} files through the naive pipeline on the {mode}")
        rows += files.measure_naive(name, mode, paths, naive_files)
    rows = files.compare(rows)
    if not as_json:
        _print_files(rows)
    return {"batches": series, "files": rows}


def _stage(stage: str, name: str, device: str, folder: Path | None, most: int, as_json: bool) -> None:
    from worker.child_process import ONE_THREAD

    if stage != "decode":
        raise GenremillError(f"--stage: there is no stage {stage!r}; there is decode")
    os.environ.update(ONE_THREAD)  # before numpy is there: as a decode child is
    from worker.bench import decoding, subject

    found = [(path.suffix.lower(), path) for path in _audio_files(folder, most)] if folder else []
    cut = replace(subject.load(name, subject.Mode("cpu")).cut(), native=device != "cpu")
    rows = decoding.measure(found or list(compose_codecs(settings.load().data_dir / "bench").items()), cut)
    if as_json:
        console.print_json({"machine": subject.machine("cpu"), "model": name, "decode": rows})
    else:
        columns, cells = decoding.table(rows)
        beside = "a GPU, which resamples and cuts" if cut.native else "a CPU"
        title = f"Decoding for {name} beside {beside}: CPU ms of a track, one thread"
        console.print_table(title, columns, cells, right=columns[2:])


def _soak(name: str, device: str, minutes: float, plot: Path | None, as_json: bool) -> dict:
    from worker.bench import plot as plots
    from worker.bench import soak
    from worker.bench.subject import modes

    result = soak.soak(name, modes(device)[-1], minutes)
    if plot:
        plots.plot_soak(result, name, plot)
    if not as_json:
        _print_soak(result)
    return {"soak": result}


def _say(message: str) -> None:
    console.err.print(message, soft_wrap=True, markup=False)


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


def _audio_files(folder: Path, most: int) -> list[Path]:
    """The first audio files of a folder. Raises GenremillError when there are none."""
    from producer.walk import Found, walk

    try:
        found = [folder / os.fsdecode(item.path) for item in walk(folder) if isinstance(item, Found)]
    except OSError as error:
        raise GenremillError(f"{folder} cannot be read: {error.strerror}") from error
    if not found:
        raise GenremillError(f"{folder} has no audio files: name another folder, or none")
    return found[:most]


def compose(folder: Path, count: int, seconds: float) -> list[Path]:
    """So many MP3 files of this length, composed where they are missing."""
    from sample import compose_long

    paths = [folder / f"{seconds:g}s" / f"{seed:03}.mp3" for seed in range(count)]
    missing = {seed: path for seed, path in enumerate(paths) if not path.exists()}
    if missing:
        _say(f"composing {len(missing)} files of {seconds:g} s in {folder}")
        workers, ignored = settings.load().usable_cores, (signal.SIGINT, signal.SIG_IGN)
        with ProcessPoolExecutor(workers, get_context("spawn"), signal.signal, ignored) as pool:
            list(pool.map(compose_long, missing.values(), missing, repeat(seconds)))
    return paths


def compose_codecs(folder: Path, seconds: float = 240.0) -> dict[str, Path]:
    """One composed track in each codec of worker.bench.codecs, by its name; what is there already stays."""
    import soundfile

    from sample import compose_long
    from worker.bench.codecs import encode_all

    track = folder / f"{seconds:g}s" / "000.wav"
    if not track.exists():
        _say(f"composing a track of {seconds:g} s, and encoding it, in {folder}")
        compose_long(track, 0, seconds)
    return encode_all(folder / "codecs" / f"{seconds:g}s", *soundfile.read(track, dtype="int16"))


if __name__ == "__main__":
    sys.exit(console.guarded(lambda: typer.run(bench)))
