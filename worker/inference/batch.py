"""Batches: windows of many requests, and how they become waveforms on a device.

Four steps lead from requests to waveforms. In this example A and B are three regions of three windows each, read in
stereo from files with the same rate; C is a request of two plain windows, which have 47,872 samples each:

    requests      A: pcm (3, frames, 2)      B: pcm (3, frames, 2)      C: pcm (2, 47872)
                        |                          |                          |
                        |             make_batch(), one slice per request     |
                        v                          v                          v
    slices        A, windows 0 to 9          B, windows 0 to 9          C, windows 0 to 2      a Batch of 20 windows
                        |                          |                          |
                        |   Batch.groups(): neighbours with equal layout_key  |
                        v                          v                          v
    groups        [ A                              B ]                  [ C ]
                                   |                                      |
                                   |        SliceGroup.copy_pcm()         |
                                   v                                      v
    PCM on                int16 (6, frames, 2)                    int16 (2, 47872)
    the device                     |                                      |
                                   |      WaveformBuilder.build(): mix down, resample, cut into windows, scale
                                   v                                      v
    waveforms                             float32 (20, 47872) in [-1, 1)

Batch.part() cuts a batch between any two windows, also within a region: then a slice uses only some of its request's
windows, and only the regions that hold them are copied.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from operator import attrgetter
from typing import NamedTuple

import torch
from torch import Tensor

from worker.features.resample import Resample
from worker.inference.requests import WindowRequest, make_layout_key
from worker.windowing import NativeLayout

PCM_SCALE = 1 / 32_768  # From int16 to [-1, 1).
RESAMPLE_BLOCK_SAMPLES = 256  # About so many samples at the model's rate are resampled by one row of a matrix product.
MAX_GROUP_SLICES = 4  # Slices that are resampled together. More would need more VRAM at a time.


@dataclass(frozen=True, slots=True)
class BatchSlice:
    """The windows `begin` to `end` of one request.

    pcm: int16, all of the request's PCM, see WindowRequest. native: how windows lie in it, None for plain windows.
    """

    pcm: Tensor
    native: NativeLayout | None
    begin: int
    end: int

    def __len__(self) -> int:
        """The number of windows."""
        return self.end - self.begin

    def part(self, begin: int, end: int) -> "BatchSlice":
        """The windows `begin` to `end` of this slice, counted from its own first window."""
        return replace(self, begin=self.begin + begin, end=self.begin + end)

    @property
    def layout_key(self) -> tuple[int, ...]:
        """Equal for slices that may stand in one group, see make_layout_key()."""
        return make_layout_key(self.pcm.shape, self.native)

    @property
    def used_rows(self) -> range:
        """The rows of pcm that hold this slice's windows: plain windows, or whole regions."""
        row_windows = 1 if self.native is None else self.native.windows
        return range(self.begin // row_windows, math.ceil(self.end / row_windows))

    @property
    def used_pcm(self) -> Tensor:
        """The part of pcm that holds this slice's windows: (used rows, samples) or (used rows, frames, channels)."""
        return self.pcm[self.used_rows.start : self.used_rows.stop]


@dataclass(frozen=True)
class Batch:
    """Windows in host memory that a network gets together.

    slices: where the windows are. frame_args: what the network gets beside the waveforms, tensors of shape (windows,).
    They are empty unless the model cuts tracks by frames (Model.hop). Then they are each window's number of spectrogram
    frames (int64) and, unless peaks are wanted, each window's peak (float32), see WindowRequest.
    wants_peak: whether the answer is each window's greatest power instead of its probabilities.
    """

    slices: tuple[BatchSlice, ...]
    frame_args: tuple[Tensor, ...] = ()
    wants_peak: bool = False

    def __len__(self) -> int:
        """The number of windows."""
        return sum(map(len, self.slices))

    def groups(self) -> Iterator["SliceGroup"]:
        """The slices in their order; neighbours with equal layout_key together, at most MAX_GROUP_SLICES of them."""
        for _, alike in groupby(self.slices, attrgetter("layout_key")):
            while slices := tuple(islice(alike, MAX_GROUP_SLICES)):
                yield SliceGroup(slices)

    def part(self, begin: int, end: int) -> "Batch":
        """The windows `begin` to `end` of this batch."""
        slices, position = [], 0
        for slice_ in self.slices:
            slice_begin, slice_end = max(begin - position, 0), min(end - position, len(slice_))
            if slice_begin < slice_end:
                slices.append(slice_.part(slice_begin, slice_end))
            position += len(slice_)
        return Batch(tuple(slices), tuple(values[begin:end] for values in self.frame_args), self.wants_peak)


def make_batch(requests: Sequence[WindowRequest], copied: bool) -> Batch:
    """All windows of some requests, which want the same answer, as one batch.

    copied: whether the batch gets a copy of the requests' PCM instead of reading it in place.
    """
    slices = [
        BatchSlice(torch.from_numpy(request.pcm.copy() if copied else request.pcm), request.native, 0, request.windows)
        for request in requests
    ]
    return Batch(tuple(slices), _frame_args(requests), requests[0].wants_peak)


def _frame_args(requests: Sequence[WindowRequest]) -> tuple[Tensor, ...]:
    """Each window's number of frames, and each window's peak where the answer is probabilities, see Batch."""
    cuts = [request.cut for request in requests if request.cut is not None]
    if not cuts:
        return ()
    windows = torch.tensor([request.windows for request in requests])
    frames = torch.tensor([cut.frames for cut in cuts]).repeat_interleave(windows)
    if requests[0].wants_peak:
        return (frames,)
    own_peak = torch.nan  # What a network takes for the window's own peak.
    peaks = torch.tensor([own_peak if cut.peak is None else cut.peak for cut in cuts], dtype=torch.float32)
    return frames, peaks.repeat_interleave(windows)


@dataclass(frozen=True)
class SliceGroup:
    """Slices with equal layout_key, whose PCM a device handles as one tensor."""

    slices: tuple[BatchSlice, ...]

    def __len__(self) -> int:
        """The number of windows."""
        return sum(map(len, self.slices))

    @property
    def native(self) -> NativeLayout | None:
        """How windows lie in the PCM of each slice, None for plain windows."""
        return self.slices[0].native

    def copy_pcm(self, device: torch.device) -> Tensor:
        """The used PCM of all slices on a device, one behind the other: int16, see BatchSlice.used_pcm.

        On a GPU the copies may still be under way on the current stream when this returns.
        """
        used_pcm = [slice_.used_pcm for slice_ in self.slices]
        rows = sum(map(len, used_pcm))
        copied = torch.empty(rows, *used_pcm[0].shape[1:], dtype=torch.int16, device=device)
        row = 0
        for pcm in used_pcm:
            copied[row : row + len(pcm)].copy_(pcm, non_blocking=True)
            row += len(pcm)
        return copied


class RegionRun(NamedTuple):
    """Windows that follow one another in one region."""

    row: int  # The region's row in BatchSlice.used_pcm.
    start: int  # The first window's first sample in the resampled region.
    windows: int  # The number of windows.


def region_runs(slice_: BatchSlice, native: NativeLayout) -> Iterator[RegionRun]:
    """The windows of a slice, region by region."""
    regions = slice_.used_rows
    for region in regions:
        region_begin = region * native.windows
        begin = max(slice_.begin, region_begin)
        end = min(slice_.end, region_begin + native.windows)
        start = native.offsets[region] + (begin - region_begin) * native.stride
        yield RegionRun(region - regions.start, start, end - begin)


def resample_blocks(rate: int, sample_rate: int) -> int:
    """How many periods of resampling, from `rate` to `sample_rate` Hz, make about RESAMPLE_BLOCK_SAMPLES: at least one.

    After a period, both rates are at a whole sample together.
    """
    period_samples = sample_rate // math.gcd(rate, sample_rate)
    return max(1, RESAMPLE_BLOCK_SAMPLES // period_samples)


class WaveformBuilder:
    """Makes a model's windows of PCM that is on a device.

    sample_rate: the model's, in Hz. window: samples of a window at that rate.
    """

    def __init__(self, sample_rate: int, window: int, device: torch.device) -> None:
        self._sample_rate, self._window, self._device = sample_rate, window, device
        self._resamplers: dict[int, Resample] = {}  # By the rate of the PCM in Hz.

    def build(self, groups: Sequence[SliceGroup], group_pcm: Sequence[Tensor], rows: int) -> Tensor:
        """The windows of all groups as float32 (rows, window samples) in [-1, 1).

        group_pcm: the PCM of each group, see SliceGroup.copy_pcm(). Rows behind the last window are zeros.
        """
        waveforms = torch.empty(rows, self._window, device=self._device)
        position = 0
        for group, pcm in zip(groups, group_pcm, strict=True):
            target = waveforms.narrow(0, position, len(group))
            position += len(group)
            if group.native is None:
                torch.mul(pcm, PCM_SCALE, out=target)
            else:
                self._build_native(group.slices, group.native, pcm, target)
        waveforms[position:].zero_()
        return waveforms

    def _build_native(self, slices: Sequence[BatchSlice], native: NativeLayout, pcm: Tensor, target: Tensor) -> None:
        """Mix regions (regions, frames, channels) down, resample them, and write their windows into target."""
        regions, _, channels = pcm.shape
        scale = PCM_SCALE / channels
        mono = self._resample(pcm.sum(2, dtype=torch.float32), native.rate)
        all_lie_alike = len(set(native.offsets)) == 1 and len(target) == regions * native.windows
        if all_lie_alike:  # Then all regions are cut at once.
            windows = self._cut(mono, native.offsets[0], native.windows, native.stride)
            torch.mul(windows, scale, out=target.view(windows.shape))
            return
        position, first_row = 0, 0
        for slice_ in slices:
            for run in region_runs(slice_, native):
                windows = self._cut(mono[first_row + run.row], run.start, run.windows, native.stride)
                torch.mul(windows, scale, out=target.narrow(0, position, run.windows))
                position += run.windows
            first_row += len(slice_.used_rows)

    def _cut(self, mono: Tensor, start: int, windows: int, stride: int) -> Tensor:
        """A view of windows: (..., samples) -> (..., windows, window samples). The first one begins at `start`."""
        stretch = mono[..., start : start + (windows - 1) * stride + self._window]
        return stretch.unfold(-1, self._window, stride)

    def _resample(self, mono: Tensor, rate: int) -> Tensor:
        """Waveforms (regions, frames) at `rate` Hz, resampled to the model's rate."""
        if rate == self._sample_rate:
            return mono
        if rate not in self._resamplers:
            resampler = Resample(rate, self._sample_rate, resample_blocks(rate, self._sample_rate))
            self._resamplers[rate] = resampler.to(self._device)
        resampled: Tensor = self._resamplers[rate](mono)
        return resampled
