"""Other processes of the product: which there are, and their CPU time."""

from collections.abc import Iterable, Iterator

import psutil


def find_descendants(module: str, ancestor: psutil.Process | None = None) -> Iterator[psutil.Process]:
    """The running processes that execute this Python module, below a process: below this one, if none is named."""
    for process in (ancestor or psutil.Process()).children(recursive=True):
        try:
            if module in process.cmdline():
                yield process
        except psutil.NoSuchProcess:
            continue  # It has just ended.


def cpu_s_of(processes: Iterable[psutil.Process]) -> float:
    """Seconds of CPU time that these running processes have used since they started."""
    times = [process.cpu_times() for process in processes]
    return sum(spent.user + spent.system for spent in times)
