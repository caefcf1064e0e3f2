"""How benchmarks take time: rates, and seconds of CPU time."""

import resource
import time
from collections.abc import Callable

Work = Callable[[], object]


def items_per_s(work: Work, items: int) -> float:
    """Items per second of wall time, where `work` handles this many of them."""
    began = time.perf_counter()
    work()
    return items / (time.perf_counter() - began)


def cpu_s(work: Work) -> float:
    """Seconds of CPU time that `work` takes in this process and in the processes that it starts and waits for."""
    began = own_cpu_s()
    work()
    return own_cpu_s() - began


def own_cpu_s() -> float:
    """Seconds of CPU time of this process, and of its children that have ended, since it started."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
