"""What a series of memory samples shows: a leak, fragmentation, a plateau, a peak, or growth.

Everything here is a pure function of the samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

MIB = 1 << 20  # Bytes.

# A plateau: the last samples are level.
LEVEL_TOLERANCE = 0.03  # Samples are level while the lowest is below the highest by no more than this part of it.
PLATEAU_SAMPLES = 30  # A plateau has at least so many samples.

# A peak: more was in use than now.
PEAK_RATIO = 1.1  # A peak is higher than this multiple of what is in use now.

# A leak: what stays allocated between batches grows from each span of batches to the next one.
LEAK_SPANS = 8  # A series is cut into so many spans of equally many batches.
LEAK_SPAN_BATCHES = 5  # Each span has at least so many batches; a shorter series shows no leak.
LEAK_MIN_RISE = 0.03  # From the first span to the last one the floor rises by more than this part of it ...
LEAK_MIN_BYTES = 32 * MIB  # ... and by more than so many bytes.
LEAK_STEP_SHARE = 0.2  # From each span to the next one it rises by more than this part of the mean rise of a span.

# Fragmentation: the allocator holds far more memory than the tensors ever needed at once.
FRAGMENTATION_RATIO = 1.5  # At least this multiple of the most that was allocated is reserved ...
FRAGMENTATION_MIN_BYTES = 256 * MIB  # ... and at least so many bytes more than it ...
FRAGMENTATION_SAMPLES = 30  # ... in each of the last so many samples.

Trend = Literal["leak", "fragmentation", "plateau", "peak", "growing", "steady"]


@dataclass(frozen=True)
class Sample:
    """The memory of a process at one moment: VRAM on a GPU. On a CPU it is RAM, and nothing is reserved."""

    time_s: float  # Seconds since the epoch.
    used_bytes: int  # What the process uses, as the driver or the kernel counts it.
    reserved_bytes: int  # What torch's allocator has got from the driver.
    allocated_bytes: int  # The part of it that is in tensors.
    peak_bytes: int  # The most that was allocated at once, since the process began.
    batches: int  # How many batches the process has predicted, since it began.


@dataclass(frozen=True)
class Level:
    """An amount of memory in use, and its time: when a peak was reached, or since when a plateau lasts."""

    bytes: int
    time_s: float  # Seconds since the epoch.


@dataclass(frozen=True)
class Leak:
    """The memory that stays allocated between batches rises, span after span."""

    bytes: int  # How far it rose, from the first span to the last one.
    batches: int  # How many batches were predicted meanwhile.


@dataclass(frozen=True)
class Fragmentation:
    """Memory that the allocator has reserved, and that tensors never needed at once."""

    bytes: int  # What is reserved beyond the most that was allocated.
    ratio: float  # What is reserved, as a multiple of the most that was allocated.


@dataclass(frozen=True)
class Verdict:
    """What a series shows: in one word, in one sentence for people, and what was found."""

    sign: Trend
    text: str
    peak: Level | None = None
    plateau: Level | None = None
    leak: Leak | None = None
    fragmentation: Fragmentation | None = None


def diagnose(samples: Sequence[Sample]) -> Verdict:
    """The verdict on samples, which are in the order of time. Of several findings the gravest names it."""
    if not samples:
        return Verdict("steady", "Nothing was measured yet.")
    last, earlier = samples[-1], samples[-PLATEAU_SAMPLES:][0]
    peak, plateau = find_peak(samples), find_plateau(samples)
    leak, fragmentation = find_leak(samples), find_fragmentation(samples)
    trend: Trend
    if leak:
        trend, text = "leak", _describe_leak(leak)
    elif fragmentation:
        trend, text = "fragmentation", _describe_fragmentation(fragmentation)
    elif plateau:
        trend, text = "plateau", _describe_plateau(plateau, peak, last)
    elif peak.bytes > PEAK_RATIO * last.used_bytes:
        trend, text = "peak", _describe_peak(peak, last)
    elif last.used_bytes > (1 + LEVEL_TOLERANCE) * earlier.used_bytes:
        trend, text = "growing", _describe_growth(last)
    else:
        trend, text = "steady", _describe_steadiness(peak, last)
    return Verdict(trend, text, peak, plateau, leak, fragmentation)


def find_peak(samples: Sequence[Sample]) -> Level:
    """The most that was in use, and the first time that so much was."""
    highest = max(samples, key=lambda sample: sample.used_bytes)
    return Level(highest.used_bytes, highest.time_s)


def find_plateau(samples: Sequence[Sample]) -> Level | None:
    """The mean of the last samples, as far back as these are level; None where these are too few for a plateau."""
    low = high = samples[-1].used_bytes
    length = 0
    for sample in reversed(samples):
        low, high = min(low, sample.used_bytes), max(high, sample.used_bytes)
        if high - low > LEVEL_TOLERANCE * high:
            break
        length += 1
    if length < PLATEAU_SAMPLES:
        return None
    level = samples[-length:]
    return Level(sum(sample.used_bytes for sample in level) // length, level[0].time_s)


def find_leak(samples: Sequence[Sample]) -> Leak | None:
    """A floor that rises far enough, and from each span to the next one. None where there is no such rise.

    The floor of a span is the least that was allocated in it. A model that is loaded makes one high step, which is why
    every step must have its share of the rise.
    """
    floors = _find_floors(samples)
    if len(floors) < LEAK_SPANS:
        return None
    steps = [after - before for before, after in pairwise(floors)]
    rise = floors[-1] - floors[0]
    is_high = rise > max(LEAK_MIN_BYTES, LEAK_MIN_RISE * floors[0])
    is_steady = min(steps) > LEAK_STEP_SHARE * rise / len(steps)
    return Leak(rise, samples[-1].batches - samples[0].batches) if is_high and is_steady else None


def _find_floors(samples: Sequence[Sample]) -> list[int]:
    """The least bytes allocated in each of the spans that have samples; none where there were too few batches."""
    first, batches = samples[0].batches, samples[-1].batches - samples[0].batches
    if batches < LEAK_SPANS * LEAK_SPAN_BATCHES:
        return []
    floors: dict[int, int] = {}
    for sample in samples:
        span = min(LEAK_SPANS - 1, (sample.batches - first) * LEAK_SPANS // batches)
        floors[span] = min(floors.get(span, sample.allocated_bytes), sample.allocated_bytes)
    return [floors[span] for span in sorted(floors)]


def find_fragmentation(samples: Sequence[Sample]) -> Fragmentation | None:
    """What was reserved in all of the last samples and never needed; None where that is little, or lasts not long."""
    last = samples[-FRAGMENTATION_SAMPLES:]
    reserved = min(sample.reserved_bytes for sample in last)
    needed = max(max(sample.peak_bytes, sample.allocated_bytes) for sample in last)
    is_long = len(last) == FRAGMENTATION_SAMPLES
    is_much = reserved >= FRAGMENTATION_RATIO * needed and reserved - needed >= FRAGMENTATION_MIN_BYTES
    return Fragmentation(reserved - needed, reserved / max(1, needed)) if is_long and is_much else None


def _describe_leak(leak: Leak) -> str:
    return (
        f"A leak: what stays allocated between batches rose by {_mib(leak.bytes)} in {leak.batches} batches; "
        "restart this worker before memory ends, and report it with `genremill gpu --json`."
    )


def _describe_fragmentation(fragmentation: Fragmentation) -> str:
    return (
        f"Fragmented: {_mib(fragmentation.bytes)} are reserved beyond what tensors ever took at once "
        f"({fragmentation.ratio:.1f} times); they go back to the card when others need them, or with a restart."
    )


def _describe_plateau(plateau: Level, peak: Level, last: Sample) -> str:
    is_after_peak = peak.bytes > PEAK_RATIO * plateau.bytes
    after_peak = f", after a peak of {_mib_and_age(peak, last)}: leave room for it" if is_after_peak else ""
    return f"A plateau: {_mib(plateau.bytes)} for {last.time_s - plateau.time_s:.0f} s{after_peak}; nothing to do."


def _describe_peak(peak: Level, last: Sample) -> str:
    now = _mib(last.used_bytes)
    return f"A peak of {_mib_and_age(peak, last)} has passed, {now} now; leave room for the next one."


def _describe_growth(last: Sample) -> str:
    return f"Growing: {_mib(last.used_bytes)} now; usual while models are loaded, look again in a minute."


def _describe_steadiness(peak: Level, last: Sample) -> str:
    return f"Steady so far: {_mib(last.used_bytes)} now, {_mib(peak.bytes)} at most; nothing to do."


def _mib_and_age(level: Level, last: Sample) -> str:
    return f"{_mib(level.bytes)} {last.time_s - level.time_s:.0f} s ago"


def _mib(count: int) -> str:
    return f"{count / MIB:.0f} MiB"
