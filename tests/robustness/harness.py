"""Sends broken files through the worker's decode processes, watches these from outside, and says what went wrong."""

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

from tests.robustness.mutations import BrokenFile
from worker.decode.child_thread import ACCEPT_S
from worker.decode.pool import DecodePool
from worker.decode.sink import WindowBlock
from worker.errors import TrackError
from worker.windowing import Windowing

ERROR_CODES = {kind.code for kind in TrackError.__subclasses__()}
COSTS_A_PROCESS = ("crashed", "timed_out", "out_of_memory")  # Codes of files that end the process that decodes them.
UNCOUNTED_MIB = 16  # Private memory that the limit does not count: the stack, and what the loader makes read-only.
WATCH_INTERVAL_S = 0.05  # Seconds between two looks at the decode processes.
BYTES_PER_MIB = 1 << 20


@dataclass
class Case:
    """A broken file on its way through the decode pool, and what came of it. It is the sink of the file's windows."""

    number: int
    mutation: str
    path: Path
    window: int  # Samples in a window.
    max_wait_s: float  # Seconds that the pool may take for an answer.
    on_end: Callable[["Case"], None]  # Called once, when the file is read or has failed.
    outcome: str = ""  # "done", or the code of its error; empty as long as it has not ended.
    reason: str = ""  # The message of its error.
    seconds: float = 0.0  # From the submission to the end.
    blocks: int = 0
    problems: list[str] = field(default_factory=list)  # What must not happen and did, a sentence each.

    def __post_init__(self) -> None:
        self._submitted_s = self._answered_s = time.monotonic()

    def windows(self, block: WindowBlock) -> None:
        """Take some of the file's windows: check their shape and type, and release their memory."""
        self._check_wait()
        self.blocks += 1
        pcm = block.pcm
        has_right_shape = pcm.ndim == 3 if block.native else pcm.ndim == 2 and pcm.shape[1] == self.window
        if pcm.dtype != np.int16 or not has_right_shape or not block.windows:
            self.problems.append(f"a block of {pcm.dtype} {pcm.shape}")
        block.release()

    def end(self) -> None:
        """The file is read."""
        if not self.blocks:
            self.problems.append("done without a window")
        self._end("done")

    def failed(self, error: TrackError) -> None:
        """The file cannot be read: check that the error has a code, and is one line that names the file."""
        self.reason = str(error)
        if error.code not in ERROR_CODES:
            self.problems.append(f"an error without a code: {error!r}")
        if "exit status" in self.reason:
            self.problems.append("an exception that nobody caught")
        if not self.reason.isprintable() or self.path.name not in self.reason:
            self.problems.append(f"not a line that names the file: {self.reason!r}")
        self._end(error.code)

    def _end(self, outcome: str) -> None:
        self._check_wait()
        if self.outcome:
            self.problems.append(f"ended as {self.outcome}, and again as {outcome}")
            return
        self.outcome, self.seconds = outcome, time.monotonic() - self._submitted_s
        self.on_end(self)

    def _check_wait(self) -> None:
        waited_s, self._answered_s = time.monotonic() - self._answered_s, time.monotonic()
        if waited_s > self.max_wait_s:
            self.problems.append(f"an answer took {waited_s:.1f} s")


class ProcessWatcher(threading.Thread):
    """Looks at the decode processes of this process, again and again, until stop()."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[int] = set()  # Process ids.
        self.gone: set[int] = set()
        self.private_mib = 0.0  # The most private memory that one of them had.
        self._stopped = threading.Event()
        self.start()

    def run(self) -> None:
        """Look, until stop()."""
        while not self._stopped.wait(WATCH_INTERVAL_S):
            alive = set()
            for process in psutil.Process().children():
                with suppress(psutil.Error):
                    if process.pid in self.seen or "worker.decode.child" in process.cmdline():
                        memory = process.memory_info()
                        self.private_mib = max(self.private_mib, (memory.rss - memory.shared) / BYTES_PER_MIB)
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
    processes: int  # How many decode processes there were.
    deaths: int  # How many of them ended before the pool was closed.
    survivors: int  # How many outlived the pool.
    private_mib: float  # The most private memory that one of them had.
    memory_mib: int  # How much it was allowed.
    seconds: float

    def problems(self) -> list[str]:
        """What must not happen and did, a sentence each."""
        found = [f"{case.path.name}: {problem}" for case in self.cases for problem in case.problems]
        found += [f"{case.path.name}: never ended" for case in self.cases if not case.outcome]
        explained = sum(case.outcome in COSTS_A_PROCESS for case in self.cases)
        if self.deaths > explained:
            found.append(f"{self.deaths} processes died, but only {explained} files say that they cost one")
        if self.survivors:
            found.append(f"{self.survivors} processes outlived the pool")
        if self.private_mib > self.memory_mib + UNCOUNTED_MIB:
            found.append(f"a process had {self.private_mib:.0f} MiB, more than {self.memory_mib}")
        return found


def decode_broken_files(
    files: Iterable[BrokenFile],
    keep_folder: Path,
    windowing: Windowing,
    processes: int,
    deadline_s: float,
    memory_mib: int,
    keep_all: bool = False,
) -> Result:
    """Write each file, decode it, and delete it. Every second one is asked for as native regions.

    Files that cost a process or show a problem are moved to `keep_folder`, and all files with `keep_all`. processes,
    deadline_s, memory_mib: see DecodePool.
    """
    began, cases = time.monotonic(), []
    room = threading.Semaphore(processes)  # Only as many files are in the pool as no file waits for a process.
    max_wait_s = deadline_s + ACCEPT_S

    def on_end(case: Case) -> None:
        if case.problems or case.outcome in COSTS_A_PROCESS or keep_all:
            keep_folder.mkdir(parents=True, exist_ok=True)
            case.path.rename(keep_folder / case.path.name)
        case.path.unlink(missing_ok=True)
        room.release()

    pool = DecodePool(processes, native=True, deadline_s=deadline_s, memory_mib=memory_mib)
    watcher = ProcessWatcher()
    try:
        with tempfile.TemporaryDirectory(dir=keep_folder.parent) as folder:
            for file in files:
                path = Path(folder, file.name)
                path.write_bytes(file.data)
                if not room.acquire(timeout=max_wait_s):
                    break
                case = Case(file.number, file.mutation, path, windowing.window, max_wait_s, on_end)
                cases.append(case)
                pool.submit(os.fsencode(path), replace(windowing, native=bool(file.number % 2)), case)
            for _ in range(processes):
                room.acquire(timeout=max_wait_s)
    finally:
        watcher.stop()
        pool.close()
    survivors = sum(psutil.pid_exists(pid) for pid in watcher.seen)
    seconds = time.monotonic() - began
    return Result(cases, len(watcher.seen), len(watcher.gone), survivors, watcher.private_mib, memory_mib, seconds)
