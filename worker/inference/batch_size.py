"""How many windows make a batch: what batches cost on a device, and how large the next one may be."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

# Sizes of batches in windows. A batch of another size is filled up with zeros to the next of these.
BATCH_SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
RATE_TOLERANCE = 0.02  # A rate within this share of the best rate counts as equally good.
MIN_BATCH_S = 0.01  # Seconds a batch should take: while it is computed, a busy worker must get the next one ready.
GROW_AFTER_BATCHES = 4  # Successful full batches in a row after which the next larger size is tried.
DEFAULT_BATCH = 16  # Windows in a batch where there was no room to measure even a single window.


def padded_size(windows: int) -> int:
    """The size of the batch that this number of windows is filled up to: one of BATCH_SIZES, unless it is larger.

    Libraries spend tens of milliseconds on a plan for every new size, so they should meet few sizes.
    """
    return BATCH_SIZES[bisect_left(BATCH_SIZES, windows)] if windows <= BATCH_SIZES[-1] else windows


def _largest_size(max_windows: int) -> int:
    """The largest of BATCH_SIZES that is not above max_windows; 0 when there is none."""
    position = bisect_right(BATCH_SIZES, max_windows)
    return BATCH_SIZES[position - 1] if position else 0


@dataclass(frozen=True)
class BatchCost:
    """What a batch of one size cost when it was measured. Profile files have these fields by these names."""

    batch: int  # The number of windows.
    seconds: float  # The time the batch took.
    peak_bytes: int  # The most VRAM that was reserved for the batch, beside the weights.

    @property
    def rate(self) -> float:
        """Windows per second."""
        return self.batch / self.seconds


@dataclass(frozen=True)
class Profile:
    """What batches of a model cost on a device.

    costs: of the sizes that were measured, in ascending order; peak_bytes never decreases. Empty when there was no room
    for a single window. complete: whether sizes were measured until larger batches were no faster; False when memory
    ended before.
    """

    costs: tuple[BatchCost, ...] = ()
    complete: bool = True

    @property
    def best_batch(self) -> int:
        """The smallest batch that has about the best rate and takes at least MIN_BATCH_S.

        About the best is a rate within RATE_TOLERANCE of it. When no such batch takes MIN_BATCH_S, the largest of them.
        DEFAULT_BATCH when nothing was measured.
        """
        if not self.costs:
            return DEFAULT_BATCH
        min_rate = (1 - RATE_TOLERANCE) * max(cost.rate for cost in self.costs)
        fast = [cost for cost in self.costs if cost.rate >= min_rate]
        return next((cost for cost in fast if cost.seconds >= MIN_BATCH_S), fast[-1]).batch

    def peak_bytes(self, windows: int) -> int:
        """The VRAM in bytes that a batch of so many windows needs beside the weights.

        Sizes above the measured ones are estimated in proportion to the largest. 0 when nothing was measured.
        """
        if not self.costs:
            return 0
        size, largest = padded_size(windows), self.costs[-1]
        estimate = math.ceil(largest.peak_bytes * size / largest.batch)
        return next((cost.peak_bytes for cost in self.costs if cost.batch >= size), estimate)

    def fitting_batch(self, free_bytes: int) -> int:
        """The largest measured size, up to best_batch, that needs no more than free_bytes of VRAM.

        0 when not even one window fits. DEFAULT_BATCH when nothing was measured.
        """
        if not self.costs:
            return DEFAULT_BATCH
        fitting = [cost for cost in self.costs if cost.batch <= self.best_batch and cost.peak_bytes <= free_bytes]
        return fitting[-1].batch if fitting else 0


def is_flat(costs: Sequence[BatchCost]) -> bool:
    """Whether larger batches are no faster: the last two costs raise the best rate by less than RATE_TOLERANCE."""
    if len(costs) < 3:
        return False
    rates = [cost.rate for cost in costs]
    return max(rates) < (1 + RATE_TOLERANCE) * max(rates[:-2])


@dataclass
class Counters:
    """What an engine has done so far, and how large its batches are."""

    windows: int = 0  # Windows predicted.
    batches: int = 0  # Batches started.
    batch: int = 0  # Windows in the last batch; 0 when a window went to the CPU.
    limit: int = 0  # Windows that a batch may have now.
    best: int = 0  # Windows in the best batch, see Profile.best_batch.
    out_of_memory: int = 0  # Batches that did not fit into VRAM, and were cut.
    on_cpu: int = 0  # Windows that were predicted on the CPU for lack of VRAM.


class BatchSizer:
    """Chooses the size of the next batch: what fits into VRAM now, but no more than proved to fit lately.

    After an out-of-memory error the limit falls to half of the failed size. It rises again one size at a time, after
    GROW_AFTER_BATCHES successful full batches, up to the profile's best batch.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.limit = profile.best_batch  # Windows in the largest batch that may be tried; 0: none may.
        self._successes = 0  # Full batches in a row that fitted.

    def next_size(self, free_bytes: int) -> int:
        """The most windows of the next batch with so much free VRAM; 0 when not even one fits and the CPU must help."""
        return min(self.limit, self.profile.fitting_batch(free_bytes))

    def record_out_of_memory(self, windows: int) -> None:
        """A batch of so many windows did not fit: halve the limit. After a single window it is 0, until
        record_cpu_window()."""
        self.limit, self._successes = _largest_size(padded_size(windows) // 2), 0

    def record_cpu_window(self) -> None:
        """A window was predicted on the CPU: the GPU may be tried with one window again."""
        self.limit = max(1, self.limit)

    def record_success(self, windows: int) -> None:
        """A batch of so many windows fitted. Batches that are not full do not count."""
        if self.limit >= self.profile.best_batch or padded_size(windows) < self.limit:
            return
        self._successes += 1
        if self._successes == GROW_AFTER_BATCHES:
            self._successes = 0
            self.limit = padded_size(self.limit + 1)
