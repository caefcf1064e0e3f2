"""The figures of `genremill bench` as pictures."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genremill.bench.batches import BatchSeries
from genremill.bench.soak import Soak
from settings import GenremillError

SIZE_INCHES = (10, 4)
DOTS_PER_INCH = 150
Y_AXIS_ROOM = 1.15  # The y axis ends this many times above the highest value.


def plot_batches(series: Sequence[BatchSeries], title: str, file: Path) -> None:
    """Draw windows per second, and memory, over the batch size. Raises GenremillError when it cannot be written."""
    figure = Figure(SIZE_INCHES, DOTS_PER_INCH, layout="constrained")
    rate_axes, memory_axes = figure.subplots(1, 2)
    for one in series:
        sizes = [point.batch for point in one.points]
        label = f"{one.device}, {one.precision}"
        (line,) = rate_axes.plot(sizes, [point.windows_per_s for point in one.points], "o-", label=label)
        for name, style in (("peak", "o-"), ("mean", ":")):
            mib = [getattr(point, f"{name}_mib") for point in one.points]
            memory_axes.plot(sizes, mib, style, color=line.get_color(), label=f"{label}, {name}")
    memory = "VRAM" if any(one.device == "GPU" for one in series) else "resident memory"
    for axes, y_label in ((rate_axes, "windows/s"), (memory_axes, f"{memory} (MiB)")):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.0f}")
        _finish_axes(axes, "windows in a batch", y_label)
    _save(figure, title, file)


def plot_soak(soak: Soak, title: str, file: Path) -> None:
    """Draw memory, and windows per second, over time. Raises GenremillError when it cannot be written."""
    figure = Figure(SIZE_INCHES, DOTS_PER_INCH, layout="constrained")
    memory_axes, rate_axes = figure.subplots(1, 2)
    minutes = [sample.at_s / 60 for sample in soak.samples]
    if soak.device == "GPU":
        memory_axes.plot(minutes, [sample.vram_mib for sample in soak.samples], label="VRAM of the process")
    memory_axes.plot(minutes, [sample.rss_mib for sample in soak.samples], label="resident memory of the process")
    rates = [
        (later.windows - earlier.windows) / (later.at_s - earlier.at_s) for earlier, later in pairwise(soak.samples)
    ]
    rate_axes.plot(minutes[1:], rates, label=soak.precision)
    for axes, y_label in ((memory_axes, "MiB"), (rate_axes, "windows/s")):
        _finish_axes(axes, "minutes", y_label)
    _save(figure, title, file)


def _finish_axes(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_ylim(0, Y_AXIS_ROOM * axes.get_ylim()[1])
    axes.grid(alpha=0.3)
    axes.legend()


def _save(figure: Figure, title: str, file: Path) -> None:
    figure.suptitle(title)
    try:
        figure.savefig(file, format="png")
    except OSError as error:
        raise GenremillError(f"{file} cannot be written: {error.strerror or error}") from error
