"""The product on a card that another process uses too: one that comes and goes, or one that leaves little."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import settings
from benchmarks.throughput import endtoend, product
from worker import supervisor
from worker.celery import app
from worker.gpu import devices, nvml

START_S = 60.0  # that the neighbour may take to begin
LOOK_S = 0.02  # between two looks at the card's memory
ASK_S = 0.5  # between two questions to the worker
MIB = 1 << 20
COUNTED = ("windows", "batches", "batch", "limit", "best", "out_of_memory", "on_cpu")


def main(options: argparse.Namespace) -> None:
    """Measure one of the two parts, and print."""
    root = endtoend.first(options.folder, options.tracks)
    uuid = devices.choose_devices(options.device)[0].visible
    checkpoint = product.with_weights(options.model)
    print(f"{options.tracks} tracks, {options.coverage}, {options.model} on {options.device}", flush=True)
    log = settings.load().data_dir / "neighbour.jsonl"
    before = during = contextlib.nullcontext()
    if options.part == "small":
        before = neighbour(log, uuid, "--leave-mib", str(options.leave_mib))
    else:
        greedy = ["--greedy"] if options.greedy else []
        during = neighbour(log, uuid, "--seed", str(options.seed), "--reserve", str(options.reserve), *greedy)
    with before, Watch(uuid) as watch, product.running() as (stack, database):
        product.warm_up(stack, database, options.folder / "warm-up", checkpoint)
        with during, Asking() as asking:
            measured = product.measure(stack, database, root, checkpoint, options.coverage)
    lines = read(log)
    asking.say(lines)
    say_takes(lines, watch.total_mib)
    print(f"VRAM in use: {watch.first_mib} MiB before the worker, at most {watch.most_mib} of {watch.total_mib} MiB")
    print(f"least free {watch.total_mib - watch.most_mib} MiB, most on top {watch.most_mib - watch.first_mib} MiB")
    endtoend.say(measured)


@contextlib.contextmanager
def neighbour(log: Path, uuid: str, *arguments: str) -> Iterator[None]:
    """The other process, from its first line on; its lines go to the file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.shared_gpu.neighbour", *arguments],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": uuid},
            stdout=output,
            preexec_fn=lambda: supervisor.die_with_parent(signal.SIGKILL),
        )
    try:
        deadline = time.monotonic() + START_S
        while not read(log):
            assert process.poll() is None and time.monotonic() < deadline, "the neighbour does not start"
            time.sleep(0.1)
        yield
        assert process.poll() is None, "the neighbour died"
    finally:
        process.kill()
        process.wait()


def read(log: Path) -> list[dict]:
    """The whole lines of a file of JSON lines."""
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def say_takes(lines: list[dict], total_mib: int) -> None:
    """How often the neighbour held how much of the card."""
    held = [line["held_mib"] / total_mib for line in lines if line["held_mib"]]
    for low in (0.0, 0.25, 0.5, 0.75):
        times = sum(low < share <= low + 0.25 for share in held)
        print(f"the neighbour took {low:4.0%} to {low + 0.25:4.0%} of the card {times:3} times")
    print(f"at most {max(held, default=0):.1%}, in {lines[-1]['at'] - lines[0]['at']:.0f} s")


class Watch:
    """Looks at a card's memory in use while it is entered: at first, and at most since."""

    def __init__(self, uuid: str):
        self._uuid = uuid
        self.total_mib = nvml.usage(uuid).total_bytes // MIB
        self.first_mib = self.most_mib = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self.first_mib = self.most_mib = self._used_mib()
        self._thread.start()
        return self

    def __exit__(self, *_exc) -> None:
        self._over.set()
        self._thread.join()

    def _used_mib(self) -> int:
        return self.total_mib - nvml.usage(self._uuid).free_bytes // MIB

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            self.most_mib = max(self.most_mib, self._used_mib())


class Asking:
    """Asks the worker what its GPU does while it is entered, as `celery -A worker inspect gpu` does."""

    def __init__(self):
        self.answers: list[tuple[float, list[dict]]] = []  # time, what each node says
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(self, *_exc) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        over = False
        while not over:  # the last question comes behind the last track
            over = self._over.wait(ASK_S)
            self.answers.append((time.time(), app.control.broadcast("gpu", reply=True, limit=1, timeout=2)))

    def say(self, lines: list[dict]) -> None:
        """The answers, each with what the neighbour held then."""
        for at, nodes in self.answers:
            held = next((line["held_mib"] for line in reversed(lines) if line["at"] <= at), 0)
            for figures in (figures for node in nodes for figures in node.values()):
                (model,) = figures["models"]
                said = ", ".join(f"{name} {model[name]}" for name in COUNTED)
                print(
                    f"{at - self.answers[0][0]:7.2f} s, the neighbour holds {held:6} MiB, the worker "
                    f"{figures['process_bytes'] // MIB}, free {figures['free_bytes'] // MIB}: {said}"
                )
