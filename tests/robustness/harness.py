"""Broken files through the worker's decode children, which are watched from outside, and what must hold then."""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil

from tests.robustness.mutations import Broken
from worker.decode.pool import START_S, DecodePool, WindowBlock
from worker.errors import TrackError
from worker.windowing import Windowing

CODES = {kind.code for kind in TrackError.__subclasses__()}
COSTS_A_CHILD = ("crashed", "timed_out", "out_of_memory")
BESIDE_MIB = 16  # private memory that the limit does not count: stack, and what the loader has made read-only
LOOK_S = 0.05


@dataclass
class Case:
    """A broken file on its way through the pool, as the sink of its windows, and what came of it."""

    number: int
    mutation: str
    path: Path
    window: int  # samples
    longest_s: float  # allowed between two answers
    ended: Callable[["Case"], None]
    outcome: str = ""  # done, or the code of its error
    reason: str = ""
    seconds: float = 0.0
    blocks: int = 0
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self):
        self._began = self._last = time.monotonic()

    def windows(self, block: WindowBlock) -> None:
        """Windows came."""
        self._look_at_the_clock()
        self.blocks += 1
        pcm = block.pcm
        shaped = pcm.ndim == 3 if block.native else pcm.ndim == 2 and pcm.shape[1] == self.window
        if pcm.dtype != np.int16 or not shaped or not block.windows:
            self.wrong.append(f"a block of {pcm.dtype} {pcm.shape}")
        block.release()

    def end(self) -> None:
        """It was read."""
        if not self.blocks:
            self.wrong.append("done without a window")
        self._end("done")

    def failed(self, error: TrackError) -> None:
        """It cannot be read."""
        self.reason = str(error)
        if error.code not in CODES:
            self.wrong.append(f"an error without a code: {error!r}")
        if "exit status" in self.reason:
            self.wrong.append("an exception that nobody caught")
        if not self.reason.isprintable() or self.path.name not in self.reason:
            self.wrong.append(f"not a line that names the file: {self.reason!r}")
        self._end(error.code)

    def _end(self, outcome: str) -> None:
        self._look_at_the_clock()
        if self.outcome:
            self.wrong.append(f"ended as {self.outcome}, and again as {outcome}")
            return
        self.outcome, self.seconds = outcome, time.monotonic() - self._began
        self.ended(self)

    def _look_at_the_clock(self) -> None:
        waited_s, self._last = time.monotonic() - self._last, time.monotonic()
        if waited_s > self.longest_s:
            self.wrong.append(f"an answer took {waited_s:.1f} s")


class Watch(threading.Thread):
    """Looks at this process's decode children, again and again, until stop()."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen: set[int] = set()  # process ids
        self.gone: set[int] = set()
        self.private_mib = 0.0  # the most that one of them had
        self._stopped = threading.Event()
        self.start()

    def run(self) -> None:
        """Look."""
        while not self._stopped.wait(LOOK_S):
            alive = set()
            for process in psutil.Process().children():
                with suppress(psutil.Error):
                    if process.pid in self.seen or "worker.decode.child" in process.cmdline():
                        memory = process.memory_info()
                        self.private_mib = max(self.private_mib, (memory.rss - memory.shared) / (1 << 20))
                        alive.add(process.pid)
            self.gone |= self.seen - alive
            self.seen |= alive

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self.join()


@dataclass(frozen=True)
class Result:
    """What came of all files."""

    cases: list[Case]
    children: int  # that there were
    deaths: int
    survivors: int  # children that outlived the pool
    private_mib: float
    memory_mib: int
    seconds: float

    def wrongs(self) -> list[str]:
        """Each thing that must not be, in a line."""
        found = [f"{case.path.name}: {wrong}" for case in self.cases for wrong in case.wrong]
        found += [f"{case.path.name}: never ended" for case in self.cases if not case.outcome]
        explained = sum(case.outcome in COSTS_A_CHILD for case in self.cases)
        if self.deaths > explained:
            found.append(f"{self.deaths} children died, but only {explained} files say that they cost one")
        if self.survivors:
            found.append(f"{self.survivors} children outlived the pool")
        if self.private_mib > self.memory_mib + BESIDE_MIB:
            found.append(f"a child had {self.private_mib:.0f} MiB, more than {self.memory_mib}")
        return found


def run(
    files: Iterable[Broken],
    kept: Path,
    windowing: Windowing,
    children: int,
    deadline_s: float,
    memory_mib: int,
    keep: bool = False,
) -> Result:
    """Write each file, decode it, every second one natively, and delete it; those that cost a child or show something
    wrong go to the folder `kept`, and all with `keep`."""
    began, cases, room = time.monotonic(), [], threading.Semaphore(children)  # so that none waits for a child
    allowed_s = deadline_s + START_S

    def ended(case: Case) -> None:
        if case.wrong or case.outcome in COSTS_A_CHILD or keep:
            kept.mkdir(parents=True, exist_ok=True)
            case.path.rename(kept / case.path.name)
        case.path.unlink(missing_ok=True)
        room.release()

    pool, watch = DecodePool(children, native=True, deadline_s=deadline_s, memory_mib=memory_mib), Watch()
    try:
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            for number, mutation, name, data in files:
                path = Path(folder, name)
                path.write_bytes(data)
                if not room.acquire(timeout=allowed_s):
                    break
                case = Case(number, mutation, path, windowing.window, allowed_s, ended)
                cases.append(case)
                pool.submit(os.fsencode(path), replace(windowing, native=bool(number % 2)), case)
            for _ in range(children):
                room.acquire(timeout=allowed_s)
    finally:
        watch.stop()
        pool.close()
    survivors = sum(psutil.pid_exists(pid) for pid in watch.seen)
    seconds = time.monotonic() - began
    return Result(cases, len(watch.seen), len(watch.gone), survivors, watch.private_mib, memory_mib, seconds)
