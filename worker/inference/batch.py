"""What a batch is: windows of many tickets in host memory, and how they come onto a device as waveforms."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from operator import attrgetter

import torch
from torch import Tensor

from worker.features.resample import Resample
from worker.inference.requests import WindowRequest
from worker.windowing import NativeLayout

PCM_SCALE = 1 / 32_768  # int16 to [-1, 1)
PERIOD = 256  # samples at the model's rate that a resampler makes at a time, about
TOGETHER = 4  # tickets


@dataclass(frozen=True, slots=True)
class BatchSlice:
    """Windows `begin` to `end` of a ticket. pcm: int16 (windows, samples), or as native says."""

    pcm: Tensor
    native: NativeLayout | None
    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin

    def part(self, begin: int, end: int) -> "BatchSlice":
        """Some of its windows."""
        return replace(self, begin=self.begin + begin, end=self.begin + end)

    @property
    def layout_key(self) -> tuple:
        """What pieces have in common that a device can take together."""
        if self.native is None:
            return ()
        return (self.native, *self.pcm.shape)

    @property
    def needed(self) -> Tensor:
        """The rows of pcm that its windows are in."""
        each = self.native.windows if self.native else 1
        return self.pcm[self.begin // each : -(-self.end // each)]


@dataclass(frozen=True)
class Batch:
    """Windows in host memory, and what the network is told of each beside its samples."""

    slices: tuple[BatchSlice, ...]
    frame_args: tuple[Tensor, ...] = ()  # (windows,) each: frames, and peaks
    wants_peak: bool = False

    def __len__(self) -> int:
        return sum(map(len, self.slices))

    def groups(self) -> Iterator["SliceGroup"]:
        """The pieces, those of one kind together: at most TOGETHER, since resampling takes memory for them all."""
        for _, slices in groupby(self.slices, attrgetter("layout_key")):
            while some := tuple(islice(slices, TOGETHER)):
                yield SliceGroup(some)

    def part(self, begin: int, end: int) -> "Batch":
        """Some of the windows."""
        parts, at = [], 0
        for slice_ in self.slices:
            low, high = max(begin - at, 0), min(end - at, len(slice_))
            if low < high:
                parts.append(slice_.part(low, high))
            at += len(slice_)
        return Batch(tuple(parts), tuple(values[begin:end] for values in self.frame_args), self.wants_peak)


def make_batch(requests: Sequence[WindowRequest], by_frames: bool, copied: bool) -> Batch:
    """The tickets' windows as one batch, which reads their memory, unless they are copied."""
    memory = [torch.from_numpy(request.pcm.copy() if copied else request.pcm) for request in requests]
    slices = [
        BatchSlice(pcm, request.native, 0, request.windows) for pcm, request in zip(memory, requests, strict=True)
    ]
    frame_args = ()
    if by_frames:
        repeats = torch.tensor([request.windows for request in requests])
        frame_args = (torch.tensor([request.frames for request in requests]).repeat_interleave(repeats),)
        if not requests[0].wants_peak:
            peaks = torch.tensor([request.peak for request in requests], dtype=torch.float32)
            frame_args = (*frame_args, peaks.repeat_interleave(repeats))
    return Batch(tuple(slices), frame_args, requests[0].wants_peak)


@dataclass(frozen=True)
class SliceGroup:
    """Pieces of one kind, which a device takes together."""

    slices: tuple[BatchSlice, ...]

    def __len__(self) -> int:
        return sum(map(len, self.slices))

    def to(self, device: torch.device) -> Tensor:
        """The PCM that the windows are in, one piece behind the other."""
        needed = [slice_.needed for slice_ in self.slices]
        there = torch.empty(sum(map(len, needed)), *needed[0].shape[1:], dtype=torch.int16, device=device)
        at = 0
        for pcm in needed:
            there[at : at + len(pcm)].copy_(pcm, non_blocking=True)
            at += len(pcm)
        return there


class Waveforms:
    """From int16 on a device to a model's windows on it."""

    def __init__(self, sample_rate: int, window: int, device: torch.device):
        self._rate, self._window, self._device = sample_rate, window, device
        self._resamplers: dict[int, Resample] = {}

    def __call__(self, groups: Sequence[SliceGroup], there: Sequence[Tensor], rows: int) -> Tensor:
        """The windows of groups whose PCM is there, see SliceGroup.to(): float32 (rows, window) in [-1, 1); rows behind the
        last window are zeros."""
        waveforms = torch.empty(rows, self._window, device=self._device)
        at = 0
        for group, pcm in zip(groups, there, strict=True):
            target = waveforms[at : at + len(group)]
            at += len(group)
            if group.slices[0].native:
                self._windowing(group, pcm, target)
            else:
                torch.mul(pcm, PCM_SCALE, out=target)
        waveforms[at:].zero_()
        return waveforms

    def _windowing(self, group: SliceGroup, pcm: Tensor, target: Tensor) -> None:
        """Mix native regions down, resample them, and cut their windows into target."""
        native, scale = group.slices[0].native, PCM_SCALE / pcm.shape[2]
        mono = self._resampled(pcm.sum(2, dtype=torch.float32), native.rate)
        if len(set(native.offsets)) == 1 and len(target) == len(mono) * native.windows:
            windowing = self._windows(mono, native.offsets[0], native.windows, native.stride)
            torch.mul(windowing, scale, out=target.view(windowing.shape))
            return
        at, row = 0, 0
        for slice_ in group.slices:
            for region, start, windows in _runs(slice_):
                windowing = self._windows(mono[row + region], start, windows, native.stride)
                torch.mul(windowing, scale, out=target[at : at + windows])
                at += windows
            row += len(slice_.needed)

    def _windows(self, mono: Tensor, start: int, windows: int, stride: int) -> Tensor:
        """(..., samples) -> (..., windows, window), the first one from `start` on."""
        return mono[..., start : start + (windows - 1) * stride + self._window].unfold(-1, self._window, stride)

    def _resampled(self, mono: Tensor, rate: int) -> Tensor:
        if rate == self._rate:
            return mono
        if rate not in self._resamplers:
            blocks = max(1, PERIOD * math.gcd(rate, self._rate) // self._rate)
            self._resamplers[rate] = Resample(rate, self._rate, blocks).to(self._device)
        return self._resamplers[rate](mono)


def _runs(slice_: BatchSlice) -> Iterator[tuple[int, int, int]]:
    """The piece's windows by region: its row of `needed`, the first window's first sample, how many."""
    native, before = slice_.native, slice_.begin // slice_.native.windows
    for region, numbers in groupby(range(slice_.begin, slice_.end), lambda number: number // native.windows):
        first, *others = numbers
        yield region - before, native.offsets[region] + first % native.windows * native.stride, 1 + len(others)
