"""What a series of memory samples says: a plateau, a peak, a leak, fragmentation, or growth. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

MIB = 1 << 20
SPREAD = 0.03  # samples that differ by no more are level
LEVEL_SAMPLES = 30  # a plateau has at least so many
ABOVE = 1.1  # times what is used now: a peak
SPANS = 8  # that a series is cut into, by batches, to look for a leak
SPAN_BATCHES = 5  # at least, in each
LEAK_RISE = 0.03  # of the lowest floor, and
LEAK_BYTES = 32 * MIB  # at least, from the first span's floor to the last one's
LEAK_STEP_SHARE = 0.2  # of the mean rise: every span's floor rises by more where memory leaks
FRAGMENTATION_RATIO = 1.5  # reserved, as a multiple of the most that was allocated
FRAGMENTATION_BYTES = 256 * MIB  # reserved beyond it
FRAGMENTATION_SAMPLES = 30  # for so long


@dataclass(frozen=True)
class Sample:
    """A process's memory at one moment; on a CPU it is what lies in RAM, and nothing is reserved."""

    time_s: float
    used_bytes: int  # as the driver or the kernel counts
    reserved_bytes: int  # by torch's allocator, from the driver
    allocated_bytes: int  # of that, in tensors
    peak_bytes: int  # the most that was allocated so far
    batches: int  # predicted so far


@dataclass(frozen=True)
class Level:
    """Memory in use, and when: a peak at that time, a plateau since then."""

    bytes: int
    time_s: float


@dataclass(frozen=True)
class Leak:
    """The floor between batches rises, span after span."""

    bytes: int  # risen
    batches: int  # meanwhile


@dataclass(frozen=True)
class Fragmentation:
    """Memory that the allocator reserved, and that tensors never needed at once."""

    bytes: int
    ratio: float  # reserved over allocated at most


Trend = Literal["leak", "fragmentation", "plateau", "peak", "growing", "steady"]


@dataclass(frozen=True)
class Verdict:
    """What a series shows, in one word and in one sentence for people."""

    sign: Trend
    text: str
    peak: Level | None = None
    plateau: Level | None = None
    leak: Leak | None = None
    fragmentation: Fragmentation | None = None


def diagnose(samples: Sequence[Sample]) -> Verdict:
    """The verdict on samples in the order of time; the gravest sign names it."""
    if not samples:
        return Verdict("steady", "Nothing was measured yet.")
    evidence = find_peak(samples), find_plateau(samples), find_leak(samples), find_fragmentation(samples)
    sign = _sign(samples, *evidence)
    return Verdict(sign, _say(sign, samples[-1], *evidence), *evidence)


def find_peak(samples: Sequence[Sample]) -> Level:
    """The most that was in use, and when first."""
    highest = max(samples, key=lambda sample: sample.used_bytes)
    return Level(highest.used_bytes, highest.time_s)


def find_plateau(samples: Sequence[Sample]) -> Level | None:
    """The level of the last samples, as far back as they differ by no more than SPREAD; None when that is not far."""
    low = high = samples[-1].used_bytes
    length = 0
    for sample in reversed(samples):
        low, high = min(low, sample.used_bytes), max(high, sample.used_bytes)
        if high - low > SPREAD * high:
            break
        length += 1
    if length < LEVEL_SAMPLES:
        return None
    level = samples[-length:]
    return Level(sum(sample.used_bytes for sample in level) // length, level[0].time_s)


def find_leak(samples: Sequence[Sample]) -> Leak | None:
    """A rise of the floor, the least that is allocated in a span of batches, from each span to the next, evenly."""
    floors = _floors(samples)
    if len(floors) < SPANS:
        return None
    steps = [after - before for before, after in pairwise(floors)]
    rise = floors[-1] - floors[0]
    if rise <= max(LEAK_BYTES, LEAK_RISE * floors[0]) or min(steps) <= LEAK_STEP_SHARE * rise / len(steps):
        return None
    return Leak(rise, samples[-1].batches - samples[0].batches)


def _floors(samples: Sequence[Sample]) -> list[int]:
    """The least bytes allocated in each of SPANS spans of equally many batches; none when there were too few."""
    first, batches = samples[0].batches, samples[-1].batches - samples[0].batches
    if batches < SPANS * SPAN_BATCHES:
        return []
    floors: dict[int, int] = {}
    for sample in samples:
        span = min(SPANS - 1, (sample.batches - first) * SPANS // batches)
        floors[span] = min(floors.get(span, sample.allocated_bytes), sample.allocated_bytes)
    return [floors[span] for span in sorted(floors)]


def find_fragmentation(samples: Sequence[Sample]) -> Fragmentation | None:
    """Far more reserved, for a while, than was ever allocated at once."""
    late = samples[-FRAGMENTATION_SAMPLES:]
    reserved = min(sample.reserved_bytes for sample in late)
    needed = max(max(sample.peak_bytes, sample.allocated_bytes) for sample in late)
    if (
        len(late) < FRAGMENTATION_SAMPLES
        or reserved < FRAGMENTATION_RATIO * needed
        or reserved - needed < FRAGMENTATION_BYTES
    ):
        return None
    return Fragmentation(reserved - needed, reserved / max(1, needed))


def _sign(samples, peak, plateau, leak, fragmentation) -> Trend:
    if leak:
        return "leak"
    if fragmentation:
        return "fragmentation"
    if plateau:
        return "plateau"
    now, before = samples[-1].used_bytes, samples[-LEVEL_SAMPLES:][0].used_bytes
    if peak.bytes > ABOVE * now:
        return "peak"
    return "growing" if now > (1 + SPREAD) * before else "steady"


def _say(sign: Trend, last: Sample, peak, plateau, leak, fragmentation) -> str:
    stood_out = f"{_mib(peak.bytes)} {_ago(last, peak)}"
    match sign:
        case "leak":
            return (
                f"A leak: what stays allocated between batches rose by {_mib(leak.bytes)} in {leak.batches} batches; "
                "restart this worker before memory ends, and report it with `genremill gpu --json`."
            )
        case "fragmentation":
            return (
                f"Fragmented: {_mib(fragmentation.bytes)} are reserved beyond what tensors ever took at once "
                f"({fragmentation.ratio:.1f} times); they go back to the card when others need them, or with a restart."
            )
        case "plateau":
            beyond = f", after a peak of {stood_out}: leave room for it" if peak.bytes > ABOVE * plateau.bytes else ""
            return f"A plateau: {_mib(plateau.bytes)} for {last.time_s - plateau.time_s:.0f} s{beyond}; nothing to do."
        case "peak":
            return f"A peak of {stood_out} has passed, {_mib(last.used_bytes)} now; leave room for the next one."
        case "growing":
            return f"Growing: {_mib(last.used_bytes)} now; usual while models are loaded, look again in a minute."
    return f"Steady so far: {_mib(last.used_bytes)} now, {_mib(peak.bytes)} at most; nothing to do."


def _ago(last: Sample, level: Level) -> str:
    return f"{last.time_s - level.time_s:.0f} s ago"


def _mib(count: int) -> str:
    return f"{count / MIB:.0f} MiB"
