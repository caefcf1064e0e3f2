"""Where the windows of a track lie: lengths in, positions out, all in samples at the model's rate."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

REGIONS = 3
REGION_S = 11.4  # also the published systems' window
CONTEXT_S = 0.05  # read on both sides of what is resampled, for the filter
GRID = 640  # samples: whole periods of resampling from every usual rate, so that regions of many tracks lie alike


class WindowPosition(NamedTuple):
    """Where a window lies."""

    start: int  # its first sample, context included: may be in front of the track
    frames: int = 0  # of the window without context, where it is cut by frames
    edge: bool = False  # it only counts for the loudest moment of the track: no window is there


@dataclass(frozen=True)
class NativeLayout:
    """How windows lie in regions that are as the file has them: int16 (regions, frames, channels).

    rate: of the frames, in Hz. leads: of each region, samples at the model's rate from its first frame to its first
    window. Windows of a region: so many, one every `stride` samples.
    """

    rate: int
    offsets: tuple[int, ...]
    windows: int
    stride: int

    def __len__(self) -> int:
        return len(self.offsets) * self.windows


@dataclass(frozen=True)
class Windowing:
    """What to read of a file, in the model's terms.

    sample_rate is in Hz; window is in samples at that rate; coverage is "regions" (REGIONS stretches of at most
    REGION_S seconds, spread evenly) or "full" (the whole track). Windows lie back to back, unless there is a hop
    (samples between two frames of a spectrogram): then they are REGION_S long, with what is left of `window` as context
    on both sides, and "full" cuts as the published systems do. band_hz: what is above does not matter; 0: all does.
    native: regions come as the file has them, where that can be: whoever takes them resamples and cuts.
    """

    sample_rate: int
    window: int
    coverage: str = "regions"
    hop: int = 0
    band_hz: int = 0
    native: bool = False

    def __post_init__(self):
        if self.coverage not in ("regions", "full"):
            raise ValueError(f"coverage is 'regions' or 'full', not {self.coverage!r}")
        if self.sample_rate < 1 or self.window < 1:
            raise ValueError(f"sample_rate and window are positive, not {self.sample_rate} and {self.window}")
        if self.hop and self.context < 0:
            raise ValueError(f"a window of {self.window} samples is shorter than {REGION_S} s")

    @property
    def max_frequency_hz(self) -> float:
        """The frequency up to which the audio matters."""
        return self.band_hz or self.sample_rate / 2

    @property
    def frames(self) -> int:
        """Frames in a window without its context; 0 where windows are not cut by frames."""
        return int(REGION_S * self.sample_rate / self.hop) if self.hop else 0

    @property
    def stride(self) -> int:
        """Samples from one window to the next."""
        return self.frames * self.hop or self.window

    @property
    def context(self) -> int:
        """Samples in front of a window, and behind it: it has room for one frame more."""
        return (self.window // self.hop - self.frames - 1) // 2 * self.hop if self.hop else 0

    @property
    def region_windows(self) -> int:
        """Whole windows in one region: at least one."""
        return max(1, int(REGION_S * self.sample_rate / self.stride))

    def region_frames(self, rate: int) -> int:
        """Frames at this rate that a native region has: its windows, and CONTEXT_S on both sides."""
        windows_s = ((self.region_windows - 1) * self.stride + self.window) / self.sample_rate
        return math.ceil((windows_s + 2 * CONTEXT_S) * rate)

    def needed(self, position: WindowPosition) -> int:
        """Samples of the window, context in front included, that a track must have for it to count."""
        return self.context + (position.frames - 1) * self.hop + 1 if self.hop else self.window

    def regions(self, total: int) -> list[list[WindowPosition]]:
        """Windows of the regions of a track of so many samples, their centres at 1/6, 3/6, 5/6; none when the track is
        to be read whole."""
        region = self.region_windows * self.stride
        if self.coverage == "full" or total < REGIONS * region:
            return []
        starts = ((2 * i + 1) * total // (2 * REGIONS) - region // 2 for i in range(REGIONS))
        grid = self.hop or GRID  # with a hop: then a window's frames are frames of the whole track's spectrogram
        return [list(itertools.islice(self.contiguous(start // grid * grid), self.region_windows)) for start in starts]

    def contiguous(self, start: int = 0) -> Iterator[WindowPosition]:
        """Windows back to back, without end."""
        return (WindowPosition(at - self.context, self.frames) for at in itertools.count(start, self.stride))

    def published_positions(self, total: int) -> list[WindowPosition]:
        """All windows of a track of so many samples as the published systems cut it: by whole frames, and what is left
        over on both sides; then the edges. None where the track is shorter than a window."""
        frames = 1 + total // self.hop
        step = int(REGION_S * frames / (total / self.sample_rate)) if total else frames + 1
        count = frames // step
        if not count or step * self.hop + 2 * self.context > self.window:
            return []
        first = (frames - count * step) // 2
        last = first + count * step
        positions = [WindowPosition(at * self.hop - self.context, step) for at in range(first, last, step)]
        before = [WindowPosition(-self.context, step, edge=True)] if first else []
        behind = [WindowPosition((frames - step) * self.hop - self.context, step, edge=True)] if last < frames else []
        return before + positions + behind
