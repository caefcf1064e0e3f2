"""The lock that lets the writers of one SQLite file take turns, within a process and between processes.

SQLite has a lock of its own, which still decides who may write. But whoever waits for it sleeps for up to 100 ms at a
time and is not woken. Beside a process that writes all the time, it may find the lock taken for many seconds.
"""

import fcntl
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

TIMEOUT_S = 30.0  # Longest wait for the other writers. After it SQLite's own lock decides alone.
POLL_S = 0.001  # Seconds between two attempts to take a lock that another process holds.


class SqliteWriteLock:
    """A context in which no other writer of this SQLite file is, as long as all of them use this class.

    Threads of this process take turns by a lock in memory. Processes take turns by two files beside the database:

    - `FILE.next` is held by the one process that is next, while it waits for `FILE.lock`.
    - `FILE.lock` is held by the process that writes, from the start of its transaction to the end.

    One file would not do. A process that writes all the time takes it again at once, before a waiting process makes its
    next attempt. With two, the busy process has to wait for `FILE.next`, which the waiting process holds.
    """

    def __init__(self, database: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._paths = [Path(f"{database}.{suffix}") for suffix in ("next", "lock")]
        self._thread_lock = threading.Lock()
        self._files: list[IO[str]] = []  # Opened on first use, and kept open.

    def __enter__(self) -> None:
        if not self._thread_lock.acquire(timeout=self._timeout_s):
            raise TimeoutError(f"another thread has been writing to the database for more than {self._timeout_s:g} s")
        deadline = time.monotonic() + self._timeout_s
        with suppress(OSError):  # The folder or its file system has no locks: SQLite's own lock has to do.
            self._files = self._files or [path.open("w") for path in self._paths]
            for file in self._files:
                while not _try_lock(file) and time.monotonic() < deadline:
                    time.sleep(POLL_S)
            _unlock(self._files[0])

    def __exit__(self, *_error: object) -> None:
        with suppress(OSError):
            for file in self._files:
                _unlock(file)
        self._thread_lock.release()

    def close(self) -> None:
        """Close the files of the lock."""
        while self._files:
            self._files.pop().close()


def _try_lock(file: IO[str]) -> bool:
    """Take the lock of this file unless another process holds it. Returns whether it was taken."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(file: IO[str]) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)
