"""The figures as pictures."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genremill.bench.batches import Series
from genremill.bench.soak import Soak
from settings import GenremillError

SIZE_IN = (10, 4)
DPI = 150


def plot_batches(series: Sequence[Series], title: str, file: Path) -> None:
    """Windows a second, and memory, over the batch size."""
    figure = Figure(SIZE_IN, DPI, layout="constrained")
    rate, memory = figure.subplots(1, 2)
    for one in series:
        sizes, label = [point.batch for point in one.points], f"{one.device}, {one.precision}"
        (line,) = rate.plot(sizes, [point.windows_per_s for point in one.points], "o-", label=label)
        for what, style in (("peak", "o-"), ("mean", ":")):
            mib = [getattr(point, f"{what}_mib") for point in one.points]
            memory.plot(sizes, mib, style, color=line.get_color(), label=f"{label}, {what}")
    of = "VRAM" if any(one.device == "GPU" for one in series) else "resident memory"
    for axes, what in ((rate, "windows/s"), (memory, f"{of} (MiB)")):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.0f}")
        _label(axes, "windows in a batch", what)
    _save(figure, title, file)


def plot_soak(soak: Soak, title: str, file: Path) -> None:
    """Memory, and windows a second, over time."""
    figure = Figure(SIZE_IN, DPI, layout="constrained")
    memory, rate = figure.subplots(1, 2)
    minutes = [sample.at_s / 60 for sample in soak.samples]
    if soak.device == "GPU":
        memory.plot(minutes, [sample.vram_mib for sample in soak.samples], label="VRAM of the process")
    memory.plot(minutes, [sample.rss_mib for sample in soak.samples], label="resident memory of the process")
    pairs = list(zip(soak.samples, soak.samples[1:], strict=False))
    rate.plot(minutes[1:], [(b.windows - a.windows) / (b.at_s - a.at_s) for a, b in pairs], label=soak.precision)
    for axes, what in ((memory, "MiB"), (rate, "windows/s")):
        _label(axes, "minutes", what)
    _save(figure, title, file)


def _label(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
    axes.grid(alpha=0.3)
    axes.legend()


def _save(figure: Figure, title: str, file: Path) -> None:
    figure.suptitle(title)
    try:
        figure.savefig(file, format="png")
    except OSError as error:
        raise GenremillError(f"{file} cannot be written: {error.strerror or error}") from error
