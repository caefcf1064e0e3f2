"""Starts batches on a device, in parts that fit into the memory that is free.

A part that does not fit after all is halved, and a window for which the GPU has no room goes to the CPU.
"""

import logging
import threading
from collections.abc import Callable

from worker.inference.batch import Batch
from worker.inference.batch_size import BatchSizer, Counters, Profile
from worker.inference.executors import Executor, Result, is_out_of_memory

log = logging.getLogger(__name__)


class BatchStarter:
    """Starts batches on an executor, and counts what was started. Several threads may share it.

    load_cpu_executor: called once, before the first window goes to the CPU instead of the executor.
    """

    def __init__(self, executor: Executor, load_cpu_executor: Callable[[], Executor]) -> None:
        self._executor, self._load_cpu_executor = executor, load_cpu_executor
        self._cpu_executor: Executor | None = None
        self._loading, self._counting = threading.Lock(), threading.Lock()
        self.counters = Counters()
        self.apply_profile(Profile())

    def apply_profile(self, profile: Profile) -> None:
        """Choose the sizes of batches by this profile from now on."""
        self._sizer = BatchSizer(profile)
        self.counters.limit = self.counters.best = profile.best_batch

    @property
    def profile(self) -> Profile:
        """The profile that was applied last."""
        return self._sizer.profile

    def start(self, batch: Batch) -> list[Result]:
        """Start a batch, in as many parts as fit one after the other. Raises what the model raises."""
        results: list[Result] = []
        position = 0
        while position < len(batch):
            fitting = self._sizer.next_size(self._executor.free_bytes())
            size = min(fitting, len(batch) - position)
            if size:
                result = self._start_part(batch.part(position, position + size))
                if result is None:
                    continue
            else:
                result = self.run_on_cpu(batch.part(position, position + 1))
                self._sizer.record_cpu_window()
            results.append(result)
            position += size or 1
            self._count(size, fitting)
        return results

    def _start_part(self, part: Batch) -> Result | None:
        """Start a part of a batch; None when it does not fit after all, and smaller parts must be tried."""
        try:
            result = self._executor.start(part)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0]
            log.warning("no room for %d windows, trying half of them: %s", len(part), reason)
            self._executor.empty_cache()
            self._sizer.record_out_of_memory(len(part))
            self.counters.out_of_memory += 1
            return None
        self._sizer.record_success(len(part))
        return result

    def run_on_cpu(self, part: Batch) -> Result:
        """Predict on the CPU what the GPU has no room for, or what is too large for AMP."""
        with self._loading:
            if self._cpu_executor is None:
                log.warning("some windows go to the CPU, which takes far longer")
                self._cpu_executor = self._load_cpu_executor()
        return self._cpu_executor.start(part)

    def _count(self, size: int, fitting: int) -> None:
        """Count a part of `size` windows, when `fitting` windows had room. A size of 0 is one window on the CPU."""
        with self._counting:
            counters = self.counters
            counters.windows += size or 1
            counters.on_cpu += not size
            counters.batches += 1
            counters.batch, counters.limit = size, fitting
