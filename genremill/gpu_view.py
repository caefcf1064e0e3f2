"""What `genremill gpu` shows: this host's GPUs, and the workers that answer, as data and for a terminal."""

import socket
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from amqp.exceptions import AMQPError  # type: ignore[import-untyped]  # amqp has no types
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from worker.celery import app
from worker.gpu import nvml
from worker.gpu.nvml import Gpu
from worker.gpu.nvml_library import NvmlLibrary
from worker.monitoring.memory_trend import MIB
from worker.monitoring.telemetry import CURVE_POINTS, Json

ANSWER_TIMEOUT_S = 1.0  # Seconds that workers, and the broker, have to answer.
CURVE_ROWS = 4  # Lines of the terminal that a curve takes.
BLOCKS = " ▁▂▃▄▅▆▇█"  # How a character is filled from below, from not at all to wholly.

# The columns of the table of a worker's models: the key of a figure of Telemetry.figures(), and its title.
MODEL_COLUMNS = {
    "model": "model", "dtype": "dtype", "batch": "batch", "limit": "limit", "best": "best", "windows": "windows",
    "windows_per_s": "windows/s", "out_of_memory": "OOM", "on_cpu": "on CPU",
}  # fmt: skip


class View:
    """Looks at this host's GPUs and asks the workers, once for each call; remembers the VRAM that was in use.

    library: pynvml, or an object of the same shape.
    """

    def __init__(self, library: NvmlLibrary | None = None) -> None:
        self._library = library
        # By a GPU's UUID: the MiB of it that were in use, at each look.
        self._used_mib: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=CURVE_POINTS))

    def look(self) -> dict[str, list[Json]]:
        """What there is now, ready for JSON.

        "gpus": for each GPU of this host its Gpu and its Usage, the nodes that use it, and the MiB in use at each look.
        "workers": Telemetry.figures() of each worker that answered.
        """
        workers = ask_workers()
        gpus = [self._look_at(gpu, workers) for gpu in nvml.list_gpus(self._library)]
        return {"gpus": gpus, "workers": workers}

    def _look_at(self, gpu: Gpu, workers: Sequence[Json]) -> Json:
        usage = nvml.read_usage(gpu.uuid, self._library)
        if usage.used_bytes is not None:
            self._used_mib[gpu.uuid].append(usage.used_bytes // MIB)
        nodes = [worker["node"] for worker in workers if worker["uuid"] == gpu.uuid]
        return {**asdict(gpu), **asdict(usage), "workers": nodes, "curve": list(self._used_mib[gpu.uuid])}


def ask_workers() -> list[Json]:
    """The figures of every worker that answers in time, sorted by node; none where there is no broker."""
    options = {"connect_timeout": ANSWER_TIMEOUT_S, "transport_options": _impatient_transport_options()}
    try:
        with app.connection_for_write(**options) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=ANSWER_TIMEOUT_S)
            replies = app.control.broadcast("gpu", reply=True, timeout=ANSWER_TIMEOUT_S, connection=connection)
    except (KombuError, RedisError, AMQPError, OSError, ValueError, KeyError):
        return []
    answers = [answer for reply in replies or () for answer in reply.values()]
    return sorted((answer for answer in answers if "node" in answer), key=lambda answer: answer["node"])


def _impatient_transport_options() -> dict[str, Any]:
    """The broker's options, but with timeouts after which a broker that hangs counts as absent."""
    timeouts = {"socket_timeout": 2 * ANSWER_TIMEOUT_S, "socket_connect_timeout": ANSWER_TIMEOUT_S}
    return {**app.conf.broker_transport_options, **timeouts}


def render(view: dict[str, list[Json]], width: int) -> RenderableType:
    """What View.look() returned, for a terminal that is `width` columns wide."""
    gpus, workers = view["gpus"], view["workers"]
    parts: list[RenderableType] = []
    if not gpus:
        parts.append(Text("no GPU can be used on this host"))
    if not workers:
        parts.append(Text("no worker answered", style="dim"))
    for gpu in gpus:
        parts += _render_gpu(gpu, [worker for worker in workers if worker["uuid"] == gpu["uuid"]], width)
    uuids_here = {gpu["uuid"] for gpu in gpus}
    for worker in workers:
        if worker["uuid"] not in uuids_here:
            parts += ["", _render_head(worker["node"], worker["gpu"] or "CPU", worker), *_render_worker(worker, width)]
    return Group(*parts)


def _render_gpu(gpu: Json, workers: Sequence[Json], width: int) -> Iterator[RenderableType]:
    """A GPU of this host with its processes, and the workers that compute on it."""
    yield ""
    yield _render_head(f"gpu{gpu['index']}@{socket.gethostname()}", gpu["name"], gpu)
    yield Text(gpu["uuid"], style="dim")
    if not workers:
        yield from _render_curve(gpu["curve"], width)
    if gpu["processes"]:
        nodes = {worker["pid"]: worker["node"] for worker in workers}
        rows = [
            (process["pid"], _mib(process["used_bytes"]), nodes.get(process["pid"]) or process["name"] or "?")
            for process in gpu["processes"]
        ]
        yield _render_table(("pid", "VRAM", "process"), rows, left=("process",))
    for worker in workers:
        yield from _render_worker(worker, width)


def _render_head(node: str, device: str, figures: Json) -> Text:
    """The line above a GPU or a worker: its name, the memory of its device, and how busy the device is."""
    line = Text.assemble((node, "bold"), f"  {device}")
    if figures["total_bytes"] is not None:
        used, total, free = (_mib(figures[f"{kind}_bytes"]) for kind in ("used", "total", "free"))
        line.append(f"  {used} of {total} used, {free} free")
    if figures["utilization"] is not None:
        line.append(f"  {figures['utilization']:.0%} busy")
    return line


def _render_worker(worker: Json, width: int) -> Iterator[RenderableType]:
    """A worker's memory over time, its models and what it makes of its memory."""
    yield from _render_curve(worker["curve"], width, worker["curve_s"])
    memory = f"process {worker['pid']}: {_mib(worker['process_bytes'])} {'RAM' if worker['uuid'] is None else 'VRAM'}"
    if worker["reserved_bytes"] is not None:
        memory += f", {_mib(worker['reserved_bytes'])} reserved, {_mib(worker['allocated_bytes'])} allocated"
    yield Text(f"{memory}; {worker['jobs']} jobs, {worker['windows_per_s']:.1f} windows/s")
    if worker["models"]:
        rows = [[model[key] for key in MODEL_COLUMNS] for model in worker["models"]]
        yield _render_table(list(MODEL_COLUMNS.values()), rows, left=("model", "dtype"))
    yield Text(worker["verdict"]["text"], style="yellow" if worker["verdict"]["sign"] == "leak" else "")


def _render_curve(mib: Sequence[int], width: int, span_s: float | None = None) -> Iterator[Text]:
    """A curve of MiB over time, and the seconds that it spans.

    Its top is its own highest value: with the whole card's memory as the top, a worker's changes would not be seen.
    """
    if len(mib) < 2:
        return
    top = max(mib) or 1
    label = f"{top} MiB"
    columns = max(1, width - len(label) - 3)
    for row, line in enumerate(draw(mib[-columns:], top)):
        row_label = {0: label, CURVE_ROWS - 1: "0"}.get(row, "")
        yield Text(f"{row_label:>{len(label)}} |{line}", no_wrap=True)
    if span_s:
        yield Text(f"{'':>{len(label)}}  the last {span_s:.0f} s", style="dim")


def draw(values: Sequence[int], top: int) -> list[str]:
    """A curve in CURVE_ROWS lines of block characters, the highest line first; each column is a value from 0 to top."""
    steps = len(BLOCKS) - 1
    heights = [min(CURVE_ROWS * steps, -(-value * CURVE_ROWS * steps // top)) for value in values]
    return [
        "".join(BLOCKS[max(0, min(steps, height - row * steps))] for height in heights)
        for row in reversed(range(CURVE_ROWS))
    ]


def _render_table(columns: Sequence[str], rows: Sequence[Sequence[object]], left: Sequence[str]) -> Table:
    """A table without lines. left: the columns that are aligned to the left, as words are."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right")
    for row in rows:
        table.add_row(*(escape(f"{cell:.1f}" if isinstance(cell, float) else str(cell)) for cell in row))
    return table


def _mib(count: int | None) -> str:
    return "?" if count is None else f"{count / MIB:.0f} MiB"
