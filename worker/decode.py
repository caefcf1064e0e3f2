"""A file becomes windows of PCM: only what the coverage asks for is read, by seeking.

Nothing here knows of processes; `worker.children` runs it where it may crash.
"""

import itertools
import math
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from worker.errors import Empty, Missing, OutOfMemory, Silent, TrackError, Undecodable, Unreadable
from worker.readers import Broken, ContainerReader, SoundfileReader

REGIONS = 3
REGION_S = 11.4
CONTEXT_S = 0.05  # read on both sides of a region, so that the resampler's filter sees what the whole track would give
FULL_SCALE = 32768  # int16 of a sample of 1.0
SILENCE = 32  # the loudest int16 of a window nobody hears: -60 dBFS


@dataclass(frozen=True)
class Cut:
    """What to read of a file, in the model's terms.

    sample_rate is in Hz; window is in samples at that rate; coverage is "regions" (REGIONS stretches of at most
    REGION_S seconds, spread evenly) or "full" (the whole track).
    """

    sample_rate: int
    window: int
    coverage: str = "regions"

    def __post_init__(self):
        if self.coverage not in ("regions", "full"):
            raise ValueError(f"coverage is 'regions' or 'full', not {self.coverage!r}")
        if self.sample_rate < 1 or self.window < 1:
            raise ValueError(f"sample_rate and window are positive, not {self.sample_rate} and {self.window}")

    @property
    def region_windows(self) -> int:
        """Whole windows in one region: at least one."""
        return max(1, int(REGION_S * self.sample_rate / self.window))


def read_windows(path: bytes, cut: Cut, limit: int) -> Iterator[np.ndarray]:
    """The track's audible windows in blocks of 1 to `limit`: int16 (n, cut.window), mono, full scale 32768.

    A track shorter than a window is padded with zeros; a longer one's tail that fills no window is left out. Raises
    Missing, Unreadable, Empty, Undecodable, Silent or OutOfMemory, each a sentence that names the file.
    """
    name = shown(path)
    try:
        with _Track(path, name) as track:
            windows = _audible_windows(track, cut)
            while block := list(itertools.islice(windows, limit)):
                yield np.stack(block)
    except MemoryError as error:
        raise OutOfMemory(f"{name}: decoding it takes more memory than a decoder may use; look at the file") from error


def shown(path: bytes) -> str:
    """A file's name for messages: bytes that are not UTF-8 appear as \\xNN."""
    return os.path.basename(path).decode("utf-8", "backslashreplace")  # noqa: PTH119 (pathlib takes no bytes)


def _audible_windows(track: "_Track", cut: Cut) -> Iterator[np.ndarray]:
    """Windows of the regions; where these give none, the first audible ones of a walk through the whole track."""
    per_region = cut.region_windows
    found = False
    for start in _region_starts(track.seconds, cut):
        samples = track.samples(cut.sample_rate, start, per_region * cut.window)
        for window in filter(_audible, _windows(samples, cut.window)):
            found = True
            yield window
    if found:
        return
    walk = filter(_audible, _windows(track.samples(cut.sample_rate, 0), cut.window, pad=True))
    for window in itertools.islice(walk, REGIONS * per_region if cut.coverage == "regions" else None):
        found = True
        yield window
    if not found:
        raise track.nothing()


def _region_starts(seconds: float, cut: Cut) -> list[int]:
    """First samples of the regions, their centres at 1/6, 3/6, 5/6; none when the track is to be read whole."""
    total, region = int(seconds * cut.sample_rate), cut.region_windows * cut.window
    if cut.coverage == "full" or total < REGIONS * region:
        return []
    return [(2 * i + 1) * total // (2 * REGIONS) - region // 2 for i in range(REGIONS)]


def _windows(samples: Iterator[np.ndarray], size: int, *, pad: bool = False) -> Iterator[np.ndarray]:
    """Back-to-back int16 windows (size,) of float chunks; `pad` fills up the one of a track that has not even one."""
    window, filled, count = np.zeros(size, np.int16), 0, 0
    for chunk in samples:
        pcm = _pcm(chunk)
        while len(pcm):
            part = pcm[: size - filled]
            window[filled : filled + len(part)] = part
            pcm, filled = pcm[len(part) :], filled + len(part)
            if filled == size:
                yield window
                window, filled, count = np.zeros(size, np.int16), 0, count + 1
    if pad and filled and not count:
        yield window


def _pcm(samples: np.ndarray) -> np.ndarray:
    """Float samples rounded to int16; what is louder than full scale clips."""
    return np.rint(np.clip(samples * np.float32(FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)).astype(np.int16)


def _audible(window: np.ndarray) -> bool:
    return max(int(window.max()), -int(window.min())) > SILENCE


class _Track:
    """One open file, its readers in the order in which they are tried, and what they said when they gave up."""

    def __init__(self, path: bytes, name: str):
        self._path, self._name = path, name
        self._heard = 0
        self._reasons: dict[str, str] = {}
        self._open: list = []
        self._fd = _open_regular(path, name)
        try:
            if not os.fstat(self._fd).st_size:
                raise Empty(f"{name}: the file has no bytes; copy it again or remove it")
            self.seconds = self._open_best()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "_Track":
        return self

    def __exit__(self, *_) -> None:
        for reader in self._open:
            reader.close()
        os.close(self._fd)

    def _open_best(self) -> float:
        """Open the reader that suits the file; the length of the track in seconds, as its header says."""
        best = next(self._readers(), None)
        if best is None:
            raise self.nothing()
        if isinstance(best, SoundfileReader) and best.subtype == "OPUS" and self._opened(ContainerReader):
            self._open.reverse()  # the same samples in less than half the time
        return self._open[0].frames / self._open[0].rate

    def samples(self, rate: int, start: int, count: int | None = None) -> Iterator[np.ndarray]:
        """Mono float32 chunks at `rate`, from sample `start` on; a reader that breaks hands over to the next one."""
        stop = None if count is None else start + count
        for reader in self._readers():
            try:
                for chunk in _resampled(reader, rate, start, stop):
                    start += len(chunk)
                    self._heard += len(chunk)
                    yield chunk
                if self._heard:
                    return
            except Broken as error:
                self._reasons[reader.name] = str(error)

    def nothing(self) -> TrackError:
        """Why no window came of this file, as the error to raise."""
        if self._heard:
            return Silent(f"{self._name}: nothing in it is louder than -60 dBFS; leave it out or replace it")
        if not self._reasons:
            return Empty(f"{self._name}: the file has a header but no audio; copy it again or remove it")
        said = "; ".join(f"{reader}: {reason}" for reader, reason in self._reasons.items())
        return Undecodable(f"{self._name}: no decoder can read it ({said}); replace the file or leave it out")

    def _readers(self) -> Iterator:
        """The readers that open this file, each opened when it is first asked for."""
        yield from list(self._open)
        for kind in (SoundfileReader, ContainerReader):
            if kind.name not in self._reasons and all(reader.name != kind.name for reader in self._open):
                yield from self._opened(kind)

    def _opened(self, kind: type) -> list:
        try:
            reader = kind(self._fd) if kind is SoundfileReader else kind(self._path)
        except Broken as error:
            self._reasons[kind.name] = str(error)
            return []
        self._open.append(reader)
        return [reader]


def _open_regular(path: bytes, name: str) -> int:
    """A descriptor of a regular file, without waiting for a pipe's other end; raises Missing or Unreadable."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Missing(f"{name}: the file is gone; scan the library again") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unreadable(f"{name}: the system does not open it ({reason}); check its permissions") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Unreadable(f"{name}: not a regular file; leave it out")
    return fd


def _resampled(reader: SoundfileReader | ContainerReader, rate: int, start: int, stop: int | None):
    """The reader's samples `start` to `stop` at `rate`, the same as if all of the track had been resampled at once.

    That needs context around them, and a first frame that lies on a sample of both rates.
    """
    common = math.gcd(reader.rate, rate)
    step_in, step_out = reader.rate // common, rate // common
    steps = max(0, start - math.ceil(CONTEXT_S * rate)) // step_out
    last = None if stop is None else math.ceil((stop / rate + CONTEXT_S) * reader.rate)
    at = steps * step_out
    for chunk in _through_soxr(reader.blocks(steps * step_in, last), reader.rate, rate):
        part = chunk[max(0, start - at) : None if stop is None else max(0, stop - at)]
        at += len(chunk)
        if len(part):
            yield part


def _through_soxr(blocks: Iterator[np.ndarray], rate_in: int, rate_out: int) -> Iterator[np.ndarray]:
    if rate_in == rate_out:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)
