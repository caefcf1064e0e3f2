"""What a track costs on its way from a file to windows, step by step, in CPU time of one thread.

No step is timed by itself: each way goes one step further than the one before, and the difference is the step.
"""

import ctypes
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import settings
from settings import GenremillError
from worker.decode.audio_file import Track
from worker.decode.pool import NATIVE_SLOT_BYTES, Block, DecodePool
from worker.decode.windows import read_windows
from worker.errors import TrackError
from worker.windowing import Cut

STEPS = ("open", "seek", "decode", "downmix", "resample", "cut", "hand over")
REPEATS = 7  # of every way of every file; the least counts
MOST_WINDOWS = 1 << 16  # in a block
ROOM = np.empty(NATIVE_SLOT_BYTES // 2, np.int16)  # for native regions

File = tuple[str, Path]  # the group that it is counted in: a codec, or the files of a suffix


@dataclass(frozen=True)
class Step:
    """CPU time for one track, and its share of the total."""

    ms: float
    share: float


@dataclass(frozen=True)
class Row:
    """The mean track of a group."""

    group: str
    reader: str
    files: int
    failed: int  # files, beside those
    total_ms: float
    steps: dict[str, Step]


def measure(files: Sequence[File], cut: Cut, repeats: int = REPEATS) -> list[Row]:
    """A row for each group of these files. Raises GenremillError when none of them can be decoded."""
    pool = _Pool(cut)
    try:
        readable, failed = _sift(files, pool)
        spent_ms = np.full((len(readable), len(STEPS)), np.inf)
        for _ in range(repeats):
            for least_ms, (_, path) in zip(spent_ms, readable, strict=True):
                least_ms[:] = np.minimum(least_ms, _spent_ms(path, cut, pool))
    finally:
        pool.close()
    return [
        _row(group, readable, failed[group], spent_ms, cut) for group in dict.fromkeys(name for name, _ in readable)
    ]


def steps_of(spent_ms: np.ndarray) -> dict[str, Step]:
    """The steps of ways that took so long (ways,): a way takes no longer than those that go further."""
    reached_ms = np.minimum.accumulate(spent_ms[::-1])[::-1]
    steps_ms = np.diff(reached_ms, prepend=0.0)
    return {name: Step(float(ms), float(ms / reached_ms[-1])) for name, ms in zip(STEPS, steps_ms, strict=True)}


def table(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple]]:
    """The rows for people: columns, cells."""
    cells = [
        (
            row.group,
            row.reader,
            f"{row.files} ({row.failed} failed)" if row.failed else row.files,
            f"{row.total_ms:.1f}",
            *(f"{step.ms:.1f} ({step.share:.0%})" for step in row.steps.values()),
        )
        for row in rows
    ]
    return ("codec", "reader", "files", "total ms", *STEPS), cells


class _Pool:
    """A decode pool with one child, which is given one file at a time."""

    def __init__(self, cut: Cut):
        config = settings.load()
        self._cut = cut
        self._pool = DecodePool(
            1, native=cut.native, deadline_s=config.decode_deadline_s, memory_mib=config.decode_memory_mib
        )
        self.close = self._pool.close

    def read(self, path: Path) -> None:
        """From the order to the last block; raises TrackError."""
        sink = _Sink()
        self._pool.submit(os.fsencode(path), self._cut, sink)
        sink.over.wait()
        if sink.error:
            raise sink.error


class _Sink:
    """Gives a track's blocks back at once; see worker.decode.pool.Sink."""

    def __init__(self):
        self.over, self.error = threading.Event(), None

    def windows(self, block: Block) -> None:
        block.release()

    def end(self) -> None:
        self.over.set()

    def failed(self, error: TrackError) -> None:
        self.error = error
        self.over.set()


def _sift(files: Sequence[File], pool: _Pool) -> tuple[list[File], Counter]:
    """Those that can be decoded, now in the system's cache, and how many of each group cannot."""
    readable, failed, error = [], Counter(), None
    for group, path in files:
        try:
            pool.read(path)
            readable.append((group, path))
        except TrackError as failure:
            failed[group] += 1
            error = failure
    if not readable:
        raise GenremillError(f"none of {len(files)} files can be decoded: {error}")
    return readable, failed


def _spent_ms(path: Path, cut: Cut, pool: _Pool) -> list[float]:
    """CPU time of each way, which goes one of the STEPS further than the one before. Native regions are not resampled,
    and not cut, here; PCM of two channels is not mixed either, and libmpg123 mixes before it has samples."""
    with Track(os.fsencode(path), cut.hears_hz, cut.native) as track:
        total, rate = track.length(cut.sample_rate), track.reader.rate / cut.sample_rate
    regions = [(max(0, places[0].start), places[-1].start + cut.window) for places in cut.regions(total)] or [
        (0, total)
    ]  # in samples of the cut
    frames = [(round(start * rate), round(stop * rate)) for start, stop in regions]

    def decoding(parts) -> None:
        with Track(os.fsencode(path), cut.hears_hz, cut.native) as track:
            for start, stop in parts:
                deque(track.reader.decoded(start, stop), maxlen=0)

    def reading(parts) -> None:
        with Track(os.fsencode(path), cut.hears_hz, cut.native) as track:
            for start, stop in parts:
                size = (stop - start) * track.reader.lanes
                if cut.native and size <= len(ROOM):
                    track.reader.read_into(ROOM[:size].reshape(stop - start, -1), start)
                else:
                    deque(track.reader.blocks(start, stop), maxlen=0)

    def resampling() -> None:
        with Track(os.fsencode(path), cut.hears_hz) as track:
            for start, stop in regions:
                deque(track.samples(cut.sample_rate, start, stop - start), maxlen=0)

    ways = (
        lambda: decoding([]),
        lambda: decoding([(start, start + 1) for start, _ in frames]),
        lambda: decoding(frames),
        lambda: reading(frames),
        (lambda: reading(frames)) if cut.native else resampling,
        lambda: deque(read_windows(os.fsencode(path), cut, MOST_WINDOWS, ROOM), maxlen=0),
        lambda: pool.read(path),
    )
    return [_cpu_ms(way) for way in ways]


def _cpu_ms(way: Callable[[], object]) -> float:
    """CPU time of this process and its children, to the nanosecond."""
    clocks = [time.CLOCK_PROCESS_CPUTIME_ID, *_clocks_of_children()]
    began = sum(map(time.clock_gettime, clocks))
    way()
    return (sum(map(time.clock_gettime, clocks)) - began) * 1e3


def _clocks_of_children() -> list[int]:
    """CPU clocks of this process's children, for time.clock_gettime."""
    clocks, clock = [], ctypes.c_int()
    for file in Path("/proc/self/task").glob("*/children"):
        for pid in map(int, file.read_text().split()):
            if not ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
                clocks.append(clock.value)
    return clocks


def _row(group: str, files: Sequence[File], failed: int, spent_ms: np.ndarray, cut: Cut) -> Row:
    """The mean of a group's files, whose ways took spent_ms (files, ways)."""
    mine = [number for number, (name, _) in enumerate(files) if name == group]
    steps = steps_of(spent_ms[mine].mean(0))
    readers = {_reader(files[number][1], cut) for number in mine}
    total_ms = sum(step.ms for step in steps.values())
    return Row(group, ", ".join(sorted(readers)), len(mine), failed, total_ms, steps)


def _reader(path: Path, cut: Cut) -> str:
    with Track(os.fsencode(path), cut.hears_hz, cut.native) as track:
        return track.reader.name
