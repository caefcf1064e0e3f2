"""Batches: which windows they have, where these are, and which are taken together."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from tests.unit.worker.inference.small_slices import FRAMES, RATE, STRIDE, WINDOW, layout, native_slice, plain_slice
from worker.inference.batch import (
    MAX_GROUP_SLICES,
    Batch,
    RegionRun,
    SliceGroup,
    make_batch,
    region_runs,
)
from worker.inference.requests import WindowRequest
from worker.windowing import FrameCut, NativeLayout


@pytest.mark.parametrize(
    ("begin", "end", "rows"),
    [(0, 6, (0, 3)), (0, 1, (0, 1)), (0, 2, (0, 1)), (0, 3, (0, 2)), (1, 2, (0, 1)), (1, 3, (0, 2)), (2, 3, (1, 2)),
     (2, 4, (1, 2)), (3, 5, (1, 3)), (4, 6, (2, 3)), (5, 6, (2, 3))],
)  # fmt: skip
def test_a_slice_of_regions_uses_the_rows_that_hold_its_windows(begin, end, rows):
    part = native_slice().part(begin, end)
    assert len(part) == end - begin
    assert part.used_rows == range(*rows)
    assert torch.equal(part.used_pcm, part.pcm[rows[0] : rows[1]])


def test_a_slice_of_plain_windows_uses_a_row_for_each():
    part = plain_slice(7).part(2, 5)
    assert part.used_rows == range(2, 5)
    assert part.used_pcm.shape == (3, WINDOW)


def test_a_part_of_a_part_is_counted_from_the_parts_first_window():
    part = plain_slice(10).part(3, 9).part(1, 6)
    assert (part.begin, part.end) == (4, 9)


def test_the_windows_of_a_part_are_found_region_by_region():
    native = layout((1, 0, 3))
    assert list(region_runs(native_slice(native), native)) == [
        RegionRun(row=0, start=1, windows=2), RegionRun(row=1, start=0, windows=2), RegionRun(row=2, start=3, windows=2)
    ]  # fmt: skip
    assert list(region_runs(native_slice(native).part(1, 5), native)) == [
        RegionRun(row=0, start=5, windows=1), RegionRun(row=1, start=0, windows=2), RegionRun(row=2, start=3, windows=1)
    ]  # fmt: skip
    assert list(region_runs(native_slice(native).part(5, 6), native)) == [RegionRun(row=0, start=7, windows=1)]
    native = NativeLayout(RATE, (5, 6, 7, 8), 3, 10)
    assert list(region_runs(native_slice(native).part(4, 11), native)) == [
        RegionRun(row=0, start=16, windows=2),
        RegionRun(row=1, start=7, windows=3),
        RegionRun(row=2, start=8, windows=2),
    ]


@pytest.mark.parametrize("value", [plain_slice(1), Batch(()), SliceGroup(())])
def test_what_a_batch_is_made_of_cannot_be_changed(value):
    with pytest.raises(FrozenInstanceError):
        value.begin = value.slices = 0


def test_slices_with_equal_layouts_that_stand_side_by_side_are_taken_together_but_not_too_many():
    assert MAX_GROUP_SLICES == 4
    alike = [native_slice(seed=seed) for seed in range(10)]
    other, plain = native_slice(layout((2, 2, 2))), [plain_slice(3), plain_slice(5)]
    slices = (*plain, *alike, other, alike[0])
    groups = [group.slices for group in Batch(slices).groups()]
    assert [len(group) for group in groups] == [2, 4, 4, 2, 1, 1]
    assert sum(groups, ()) == slices


@pytest.mark.parametrize(
    "other",
    [layout((1, 0, 4)), layout(rate=16), NativeLayout(RATE, (1, 0, 3), 3, STRIDE), NativeLayout(RATE, (1, 0, 3), 2, 5)],
)
def test_slices_that_do_not_lie_alike_are_not_taken_together(other):
    assert len(list(Batch((native_slice(), native_slice(other))).groups())) == 2


def test_mono_and_stereo_are_not_taken_together():
    assert len(list(Batch((native_slice(channels=1), native_slice(channels=2))).groups())) == 2


def test_the_length_of_a_batch_and_of_a_group_is_their_windows():
    slices = (plain_slice(3), plain_slice(4))
    assert len(Batch(slices)) == len(SliceGroup(slices)) == 7


def test_a_part_of_a_batch_has_the_slices_and_arguments_of_its_windows():
    frames, peaks = torch.arange(9), torch.arange(9) / 2
    batch = Batch((plain_slice(2), plain_slice(3), plain_slice(4)), (frames, peaks), wants_peak=True)
    part = batch.part(1, 6)
    assert [(slice_.begin, slice_.end) for slice_ in part.slices] == [(1, 2), (0, 3), (0, 1)]
    assert [values.tolist() for values in part.frame_args] == [[1, 2, 3, 4, 5], [0.5, 1, 1.5, 2, 2.5]]
    assert part.wants_peak
    assert [len(slice_) for slice_ in batch.part(2, 5).slices] == [3]
    assert batch.part(4, 4).slices == ()


def test_a_batch_without_more_is_of_a_model_that_does_not_cut_by_frames():
    assert Batch(()).frame_args == ()
    assert Batch(()).wants_peak is False


def request(windows, **options):
    return WindowRequest(np.full((windows, WINDOW), windows, np.int16), print, print, print, **options)


@pytest.mark.parametrize("copied", [True, False])
def test_a_batch_reads_the_memory_of_its_requests_unless_it_is_copied(copied):
    requests = [request(2), request(1)]
    batch = make_batch(requests, copied=copied)
    for slice_, one in zip(batch.slices, requests, strict=True):
        assert np.array_equal(slice_.pcm.numpy(), one.pcm)
        assert np.shares_memory(slice_.pcm.numpy(), one.pcm) is not copied
        assert (slice_.native, slice_.begin, slice_.end) == (None, 0, one.windows)
    assert batch.frame_args == ()


def test_a_batch_has_all_windows_of_its_requests_regions():
    native = layout()
    one = WindowRequest(np.zeros((3, FRAMES, 2), np.int16), print, print, print, native=native)
    (slice_,) = make_batch([one], copied=False).slices
    assert (slice_.native, slice_.begin, slice_.end) == (native, 0, 6)


def test_a_network_that_cuts_by_frames_is_told_each_windows_frames_and_peak():
    batch = make_batch([request(2, cut=FrameCut(490, peak=0.25)), request(1, cut=FrameCut(491))], copied=False)
    frames, peaks = batch.frame_args
    assert (frames.tolist(), frames.dtype) == ([490, 490, 491], torch.int64)
    assert (peaks[:2].tolist(), peaks.dtype) == ([0.25, 0.25], torch.float32)
    assert math.isnan(peaks[2])
    assert not batch.wants_peak


def test_a_network_that_is_asked_for_peaks_is_told_each_windows_frames_alone():
    requests = [request(1, cut=FrameCut(3), wants_peak=True), request(2, cut=FrameCut(4), wants_peak=True)]
    batch = make_batch(requests, copied=False)
    assert [values.tolist() for values in batch.frame_args] == [[3, 4, 4]]
    assert batch.wants_peak
    (alone,) = make_batch(requests[:1], copied=False).frame_args
    assert alone.tolist() == [3]
