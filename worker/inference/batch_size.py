"""How many windows make a batch: what a model costs on a device, and what of that fits the VRAM that is free now."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)  # windows; others are filled up to one
RATE_TOLERANCE = 0.02  # a rate within this of the best is as good
MIN_BATCH_S = 0.01  # a batch that is computed in less is over before a busy worker has the next one ready
GROW_AFTER = 4  # full batches in a row that went well: then the next size
DEFAULT_BATCH = 16  # windows, where not even a single one could be measured


def size_for(windows: int) -> int:
    """The size of the batch that so many windows are put into: libraries plan anew, for tens of milliseconds, for every
    size they meet, so that they should meet few."""
    return SIZES[bisect_left(SIZES, windows)] if windows <= SIZES[-1] else windows


def _size_within(windows: float) -> int:
    """The largest size of no more than so many windows; 0 when there is none."""
    at = bisect_right(SIZES, windows)
    return SIZES[at - 1] if at else 0


@dataclass(frozen=True)
class BatchCost:
    """A batch that was tried: seconds it took, and the most bytes of VRAM reserved for it beside the weights."""

    batch: int
    seconds: float
    peak_bytes: int

    @property
    def rate(self) -> float:
        """Windows a second."""
        return self.batch / self.seconds


@dataclass(frozen=True)
class Profile:
    """What a model costs on a device, by batches that were tried: ascending, and their peaks do not fall."""

    costs: tuple[BatchCost, ...] = ()
    complete: bool = True  # whether the rate became flat; memory ended before, where not

    @property
    def best(self) -> int:
        """The smallest batch whose rate is within RATE_TOLERANCE of the best and that takes MIN_BATCH_S; where none takes so long,
        the largest of that rate."""
        wanted = (1 - RATE_TOLERANCE) * max((cost.rate for cost in self.costs), default=0)
        good = [cost for cost in self.costs if cost.rate >= wanted]
        if not good:
            return DEFAULT_BATCH
        return next((cost for cost in good if cost.seconds >= MIN_BATCH_S), good[-1]).batch

    def peak_bytes(self, windows: int) -> int:
        """VRAM that so many windows need beside the weights; in proportion, where so many were not tried."""
        size = size_for(windows)
        found = next((cost for cost in self.costs if cost.batch >= size), None)
        if found is not None:
            return found.peak_bytes
        return math.ceil(self.costs[-1].peak_bytes * size / self.costs[-1].batch) if self.costs else 0

    def fitting(self, free_bytes: int) -> int:
        """The largest size that was tried, up to the best, that needs no more than this; 0 when not even one window
        fits. (Where none could be tried: DEFAULT_BATCH.)"""
        if not self.costs:
            return DEFAULT_BATCH
        tried = [cost for cost in self.costs if cost.batch <= self.best and cost.peak_bytes <= free_bytes]
        return tried[-1].batch if tried else 0


def is_flat(costs: Sequence[BatchCost]) -> bool:
    """Whether the last two batches brought no more than RATE_TOLERANCE over the best before them."""
    if len(costs) < 3:
        return False
    return max(cost.rate for cost in costs[-2:]) < (1 + RATE_TOLERANCE) * max(cost.rate for cost in costs[:-2])


@dataclass
class Counters:
    """What an engine has done, and how large its batches are."""

    windows: int = 0  # predicted so far
    batches: int = 0
    batch: int = 0  # windows in the last one
    limit: int = 0  # windows that a batch may have now
    best: int = 0  # the smallest batch within RATE_TOLERANCE of the best rate
    out_of_memory: int = 0  # batches that had to be cut
    on_cpu: int = 0  # windows predicted on the CPU for lack of VRAM


class BatchSizer:
    """The size of the next batch: what fits now, but never more than went well lately."""

    def __init__(self, profile: Profile):
        self.profile = profile
        self.limit = profile.best
        self._well = 0  # full batches in a row

    def size(self, free_bytes: int) -> int:
        """The most windows of the next batch; 0: not even one fits, which a CPU can take."""
        return min(self.limit, self.profile.fitting(free_bytes))

    def out_of_memory(self, windows: int) -> None:
        """So many windows did not fit after all: half of that size. Of one window: 0, until went_to_cpu()."""
        self.limit, self._well = _size_within(size_for(windows) / 2), 0

    def went_to_cpu(self) -> None:
        """A window was predicted on the CPU: one may be tried on the GPU again."""
        self.limit = max(1, self.limit)

    def went_well(self, windows: int) -> None:
        """So many windows fitted; after some batches that were full, the next size."""
        if self.limit >= self.profile.best or size_for(windows) < self.limit:
            return
        self._well += 1
        if self._well == GROW_AFTER:
            self._well = 0
            self.limit = size_for(self.limit + 1)
