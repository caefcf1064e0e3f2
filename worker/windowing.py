"""Where the windows of a track lie. Pure arithmetic: lengths in, positions out, in samples at the model's sample rate.

A window is what a model looks at in one go. A track has far more of them than it takes to tell its genre, so coverage
"regions" takes only some:

    track     |-----[ region 1 ]----------[ region 2 ]----------[ region 3 ]-----|
                         ^                     ^                     ^
                   centre at 1/6         centre at 3/6         centre at 5/6

    region    [ window | window | window ]     back to back, `stride` samples apart; at most REGION_S seconds in all

Coverage "full" takes the whole track, back to back from its first sample.

Some models look at a spectrogram that has a frame every `hop` samples. Their window has context on both sides, which
only serves to compute the first and the last frame as if the whole track's spectrogram had been computed:

    samples   |  context  |  stride = frames * hop  |  context  |  rest  |
              ^ WindowPosition.start, which is before the track's first sample where the window begins with the track
              |<------------------------ window ------------------------>|

For such models, "full" follows the published systems, which cut the track's spectrogram into whole windows and leave
half of the remaining frames over at each end. An edge is a further window that covers such a rest. It overlaps its
neighbour, and it only counts for the loudest moment of the track: no genre is predicted for it.

    frames    |rest|  window  |  window  |  window  |rest|
              |   edge   |                    |   edge   |
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

REGIONS = 3  # Number of regions that coverage "regions" takes of a track.
REGION_S = 11.4  # Length of a region in seconds. It is the length of a window in the published picture models.
CONTEXT_S = 0.05  # Seconds that are read before and after what is resampled, because the resampling filter needs them.

# Regions of models without a hop begin at multiples of this many samples. The resampling filter of every usual file
# rate repeats after a divisor of it (at 16 kHz, 11.025 kHz has the longest period), so that many tracks have the same
# NativeLayout and can be resampled together.
GRID_SAMPLES = 640


class FrameCut(NamedTuple):
    """How a window counts for a model that has a hop. It stays with the window from its position to its batch."""

    frames: int  # Spectrogram frames of the window, without context.
    edge: bool = False  # The window only counts for the loudest moment of the track; no genre is predicted for it.
    peak: float | None = None  # The power that is 0 dB in the window's spectrogram; None: the window's own peak.


class WindowPosition(NamedTuple):
    """Where one window lies in a track."""

    start: int  # Its first sample, context included. Negative where the context is before the track's first sample.
    cut: FrameCut | None = None  # None for models without a hop.


@dataclass(frozen=True)
class NativeLayout:
    """How windows lie in native regions: int16 (regions, frames, channels) at the file's own rate and channels.

    rate: of the native frames, in Hz.
    offsets: for each region, the samples at the model's rate from its first native frame to its first window.
    windows: the number of windows in each region.
    stride: samples at the model's rate from one window to the next.
    """

    rate: int
    offsets: tuple[int, ...]
    windows: int
    stride: int

    def __len__(self) -> int:
        """The number of windows in all regions."""
        return len(self.offsets) * self.windows


@dataclass(frozen=True)
class Windowing:
    """What a model wants to hear of a track.

    sample_rate: the model's sample rate in Hz.
    window: the length of a window in samples, context included.
    coverage: "regions" or "full", see the module's docstring.
    hop: samples from one frame of the model's spectrogram to the next; 0 for models that take waveforms.
    band_hz: the model ignores frequencies above this; 0: it uses all of them.
    native: regions are wanted as the file has them where possible; whoever takes them resamples and cuts windows.
    """

    sample_rate: int
    window: int
    coverage: str = "regions"
    hop: int = 0
    band_hz: int = 0
    native: bool = False

    def __post_init__(self) -> None:
        if self.coverage not in ("regions", "full"):
            raise ValueError(f"coverage is 'regions' or 'full', not {self.coverage!r}")
        if self.sample_rate < 1 or self.window < 1:
            raise ValueError(f"sample_rate and window are positive, not {self.sample_rate} and {self.window}")
        if self.hop and self.context < 0:
            raise ValueError(f"a window of {self.window} samples is shorter than {REGION_S} s")

    @property
    def max_frequency_hz(self) -> float:
        """The highest frequency that the model hears."""
        return self.band_hz or self.sample_rate / 2

    @property
    def frames(self) -> int:
        """Spectrogram frames in a window, without its context; 0 without a hop."""
        return int(REGION_S * self.sample_rate / self.hop) if self.hop else 0

    @property
    def frame_cut(self) -> FrameCut | None:
        """How a window of usual length is cut by frames; None without a hop."""
        return FrameCut(self.frames) if self.hop else None

    @property
    def stride(self) -> int:
        """Samples from one window to the next: a window without its context."""
        return self.frames * self.hop or self.window

    @property
    def context(self) -> int:
        """Samples of context on each side of a window: whole hops. One more frame always fits a window beside them."""
        return (self.window // self.hop - self.frames - 1) // 2 * self.hop if self.hop else 0

    @property
    def region_windows(self) -> int:
        """The number of windows in a region: as many as REGION_S has whole strides, and at least one."""
        return max(1, int(REGION_S * self.sample_rate / self.stride))

    def region_frames(self, rate: int) -> int:
        """The number of frames of a native region at `rate` Hz: its windows, and CONTEXT_S before and after them."""
        windows_s = ((self.region_windows - 1) * self.stride + self.window) / self.sample_rate
        return math.ceil((windows_s + 2 * CONTEXT_S) * rate)

    def needed(self, position: WindowPosition) -> int:
        """How many samples of this window the track must have for it to count. Zeros replace the samples behind them.

        Without a hop, all of them. With a hop, up to the middle of the window's last frame.
        """
        return self.context + (position.cut.frames - 1) * self.hop + 1 if position.cut else self.window

    def regions(self, total: int) -> list[list[WindowPosition]]:
        """The windows of each region of a track of `total` samples.

        Empty when the whole track is wanted, or when the track is shorter than its regions together.
        """
        length = self.region_windows * self.stride
        if self.coverage == "full" or total < REGIONS * length:
            return []
        starts = ((2 * number + 1) * total // (2 * REGIONS) - length // 2 for number in range(REGIONS))
        grid = self.hop or GRID_SAMPLES  # With a hop, frames of a window are frames of the whole track's spectrogram.
        return [list(itertools.islice(self.contiguous(start // grid * grid), self.region_windows)) for start in starts]

    def contiguous(self, start: int = 0) -> Iterator[WindowPosition]:
        """Windows back to back without end. The first one, without its context, begins at sample `start`."""
        return (WindowPosition(begin - self.context, self.frame_cut) for begin in itertools.count(start, self.stride))

    def published_positions(self, total: int) -> list[WindowPosition]:
        """All windows of a track of `total` samples, cut as the published systems do; for models that have a hop.

        The first and the last are edges where the windows leave frames over. Empty when the track is shorter than a
        window. The published systems round, so that windows of some tracks have one frame more. There is room for it.
        """
        frames = 1 + total // self.hop
        window_frames = int(REGION_S * frames / (total / self.sample_rate)) if total else frames + 1
        count = frames // window_frames
        if not count:
            return []
        first = (frames - count * window_frames) // 2
        end = first + count * window_frames
        positions = [self._at_frame(frame, window_frames) for frame in range(first, end, window_frames)]
        before = [self._at_frame(0, window_frames, edge=True)] if first else []
        behind = [self._at_frame(frames - window_frames, window_frames, edge=True)] if end < frames else []
        return before + positions + behind

    def _at_frame(self, frame: int, window_frames: int, edge: bool = False) -> WindowPosition:
        """The window that begins, without its context, at this frame of the whole track's spectrogram."""
        return WindowPosition(frame * self.hop - self.context, FrameCut(window_frames, edge))
