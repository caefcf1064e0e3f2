"""The competing process, as the benchmark sees it: start it, read what it held, end it."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

from worker import supervisor
from worker.python_process import python_command, python_environment

START_S = 60.0  # Seconds that the competitor may take to begin.
START_CHECK_S = 0.1  # Seconds between two checks whether it has begun.


class Change(TypedDict):
    """A line of the competitor's output: what it holds since a moment."""

    time_s: float  # Since the epoch.
    held_mib: int
    free_mib: int  # On the card.


@contextlib.contextmanager
def competitor(log: Path, gpu_uuid: str, arguments: Sequence[str]) -> Iterator[None]:
    """A competitor on this GPU, from its first line on. Its lines go to the file `log`.

    arguments: see benchmarks.shared_gpu.competitor. Raises RuntimeError when it does not start, or ends by itself.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            python_command("benchmarks.shared_gpu.competitor", *arguments),
            env=python_environment(CUDA_VISIBLE_DEVICES=gpu_uuid),
            stdout=output,
            preexec_fn=lambda: supervisor.die_with_parent(signal.SIGKILL),
        )
    try:
        deadline = time.monotonic() + START_S
        while not read_changes(log):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the competing process does not start")
            time.sleep(START_CHECK_S)
        yield
        if process.poll() is not None:
            raise RuntimeError(f"the competing process ended with exit status {process.returncode}")
    finally:
        process.kill()
        process.wait()


def read_changes(log: Path) -> list[Change]:
    """What the competitor has printed so far; a line that it has not finished is left out."""
    lines = log.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def held_mib_at(changes: Sequence[Change], time_s: float) -> int:
    """What the competitor held at a moment, given in seconds since the epoch."""
    return next((change["held_mib"] for change in reversed(changes) if change["time_s"] <= time_s), 0)


def print_changes(changes: Sequence[Change], total_mib: int) -> None:
    """Print how often the competitor took which part of the card, whose size is given."""
    shares = [change["held_mib"] / total_mib for change in changes if change["held_mib"]]
    for low in (0.0, 0.25, 0.5, 0.75):
        count = sum(low < share <= low + 0.25 for share in shares)
        print(f"the competitor took {low:4.0%} to {low + 0.25:4.0%} of the card {count:3} times")
    seconds = changes[-1]["time_s"] - changes[0]["time_s"]
    print(f"at most {max(shares, default=0):.1%}, in {seconds:.0f} s")
