"""`genremill gpu`: this host's GPUs and the workers that answer, as data and for a terminal."""

import socket
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from amqp.exceptions import AMQPError
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from worker.celery import app
from worker.gpu import nvml
from worker.gpu.nvml import Gpu
from worker.monitoring.memory_trend import MIB
from worker.monitoring.telemetry import CURVE_POINTS

ANSWER_S = 1.0  # that workers have to answer
ROWS = 4  # of a curve
BLOCKS = " ▁▂▃▄▅▆▇█"
MODEL_COLUMNS = ("model", "dtype", "batch", "limit", "best", "windows", "windows/s", "OOM", "on CPU")


class View:
    """Looks at this host's GPUs and asks the workers, once a call; remembers the VRAM that it has seen.

    library: pynvml, or what looks like it.
    """

    def __init__(self, library: Any | None = None):
        self._library = library
        self._seen: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=CURVE_POINTS))  # UUID -> MiB

    def look(self) -> dict[str, list[dict]]:
        """{"gpus": ..., "workers": ...}: Usage of each GPU of this host, Telemetry.figures() of each worker."""
        workers = ask_workers()
        gpus = [self._look_at(gpu, workers) for gpu in nvml.gpus(self._library)]
        return {"gpus": gpus, "workers": workers}

    def _look_at(self, gpu: Gpu, workers: Sequence[dict]) -> dict:
        usage = nvml.usage(gpu.uuid, self._library)
        if usage.used_bytes is not None:
            self._seen[gpu.uuid].append(usage.used_bytes // MIB)
        nodes = [worker["node"] for worker in workers if worker["uuid"] == gpu.uuid]
        return {**asdict(gpu), **asdict(usage), "workers": nodes, "curve": list(self._seen[gpu.uuid])}


def ask_workers() -> list[dict]:
    """The figures of every worker that answers in time, by node name; none where there is no broker."""
    try:
        with app.connection_for_write(connect_timeout=ANSWER_S, transport_options=_impatient()) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=ANSWER_S)
            replies = app.control.broadcast("gpu", reply=True, timeout=ANSWER_S, connection=connection)
    except (KombuError, RedisError, AMQPError, OSError, ValueError, KeyError):
        return []
    answers = [answer for reply in replies or () for answer in reply.values()]
    return sorted((answer for answer in answers if "node" in answer), key=lambda answer: answer["node"])


def _impatient() -> dict:
    limits = {"socket_timeout": 2 * ANSWER_S, "socket_connect_timeout": ANSWER_S}
    return {**app.conf.broker_transport_options, **limits}


def render(found: dict[str, list[dict]], width: int) -> RenderableType:
    """What look() found, for a terminal that is so many columns wide."""
    gpus, workers = found["gpus"], found["workers"]
    parts: list[RenderableType] = []
    if not gpus:
        parts.append(Text("no GPU can be used on this host"))
    if not workers:
        parts.append(Text("no worker answered", style="dim"))
    shown = set()
    for gpu in gpus:
        own = [worker for worker in workers if worker["uuid"] == gpu["uuid"]]
        shown.update(worker["node"] for worker in own)
        parts += _render_gpu(gpu, own, width)
    for worker in workers:
        if worker["node"] not in shown:
            parts += ["", _head(worker["node"], worker["gpu"] or "CPU", worker), *_render_worker(worker, width)]
    return Group(*parts)


def _render_gpu(gpu: dict, workers: Sequence[dict], width: int) -> Iterator[RenderableType]:
    yield ""
    yield _head(f"gpu{gpu['index']}@{socket.gethostname()}", gpu["name"], gpu)
    yield Text(gpu["uuid"], style="dim")
    if not workers:
        yield from _render_curve(gpu["curve"], width)
    if gpu["processes"]:
        nodes = {worker["pid"]: worker["node"] for worker in workers}
        rows = [(p["pid"], _mib(p["used_bytes"]), nodes.get(p["pid"]) or p["name"] or "?") for p in gpu["processes"]]
        yield _table(("pid", "VRAM", "process"), rows, left=("process",))
    for worker in workers:
        yield from _render_worker(worker, width)


def _head(node: str, device: str, figures: dict) -> Text:
    line = Text.assemble((node, "bold"), f"  {device}")
    if figures["total_bytes"] is not None:
        used, total, free = (_mib(figures[f"{kind}_bytes"]) for kind in ("used", "total", "free"))
        line.append(f"  {used} of {total} used, {free} free")
    if figures["utilization"] is not None:
        line.append(f"  {figures['utilization']:.0%} busy")
    return line


def _render_worker(worker: dict, width: int) -> Iterator[RenderableType]:
    yield from _render_curve(worker["curve"], width, worker["curve_s"])
    memory = f"process {worker['pid']}: {_mib(worker['process_bytes'])} {'RAM' if worker['uuid'] is None else 'VRAM'}"
    if worker["reserved_bytes"] is not None:
        memory += f", {_mib(worker['reserved_bytes'])} reserved, {_mib(worker['allocated_bytes'])} allocated"
    yield Text(f"{memory}; {worker['jobs']} jobs, {worker['windows_per_s']:.1f} windows/s")
    if worker["models"]:
        keys = ("model", "dtype", "batch", "limit", "best", "windows", "windows_per_s", "out_of_memory", "on_cpu")
        rows = [[model[key] for key in keys] for model in worker["models"]]
        yield _table(MODEL_COLUMNS, rows, left=("model", "dtype"))
    yield Text(worker["verdict"]["text"], style="yellow" if worker["verdict"]["sign"] == "leak" else "")


def _render_curve(mib: Sequence[int], width: int, span_s: float | None = None) -> Iterator[Text]:
    """A curve under the line of the most it came to: of all that a card has, a worker's changes would not be seen."""
    if len(mib) < 2:
        return
    top = max(mib) or 1
    label = f"{top} MiB"
    for row, line in enumerate(draw(mib[-max(1, width - len(label) - 3) :], top)):
        text = label if row == 0 else "0" if row == ROWS - 1 else ""
        yield Text(f"{text:>{len(label)}} |{line}", no_wrap=True)
    if span_s:
        yield Text(f"{'':>{len(label)}}  the last {span_s:.0f} s", style="dim")


def draw(values: Sequence[int], top: int) -> list[str]:
    """A curve in ROWS lines of block characters, the highest first; each column is a value, 0 to top."""
    steps = len(BLOCKS) - 1
    heights = [min(ROWS * steps, -(-value * ROWS * steps // top)) for value in values]
    return [
        "".join(BLOCKS[max(0, min(steps, height - row * steps))] for height in heights) for row in reversed(range(ROWS))
    ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], left: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right")
    for row in rows:
        table.add_row(*(escape(f"{cell:.1f}" if isinstance(cell, float) else str(cell)) for cell in row))
    return table


def _mib(count: int | None) -> str:
    return "?" if count is None else f"{count / MIB:.0f} MiB"
