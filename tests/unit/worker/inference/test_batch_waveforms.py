"""The waveforms that become of a batch on a device."""

import numpy as np
import pytest
import soxr
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.inference.small_slices import FRAMES, RATE, STRIDE, WINDOW, layout, native_slice, plain_slice
from worker.inference.batch import Batch, BatchSlice, SliceGroup, WaveformBuilder, resample_blocks
from worker.windowing import NativeLayout

CPU = torch.device("cpu")


def build(batch, rows=None, builder=None):
    """The waveforms of a batch on the CPU."""
    builder = builder or WaveformBuilder(RATE, WINDOW, CPU)
    groups = list(batch.groups())
    return builder.build(groups, [group.copy_pcm(CPU) for group in groups], len(batch) if rows is None else rows)


def expected_window(slice_, number):
    """One window of a slice's PCM whose rate is the model's, computed by itself."""
    pcm, native = slice_.pcm.numpy().astype(np.float64) / 32_768, slice_.native
    if native is None:
        return pcm[number]
    region, place = divmod(number, native.windows)
    start = native.offsets[region] + place * native.stride
    return pcm[region, start : start + WINDOW].mean(1)


def expected_waveforms(batch):
    windows = [expected_window(slice_, number) for slice_ in batch.slices for number in range(slice_.begin, slice_.end)]
    return np.array(windows).reshape(-1, WINDOW)


def test_the_pcm_of_a_group_is_copied_one_slice_behind_the_other():
    slices = (native_slice(seed=1).part(3, 5), native_slice(seed=2))
    copied = SliceGroup(slices).copy_pcm(CPU)
    assert copied.dtype == torch.int16
    assert torch.equal(copied, torch.cat([slices[0].pcm[1:3], slices[1].pcm]))
    assert not np.shares_memory(copied.numpy(), slices[1].pcm.numpy())


def test_samples_are_scaled_to_one_and_rows_behind_the_last_window_are_silent():
    pcm = torch.tensor([[-32_768, 32_767, 16_384, 0, 1, -1]], dtype=torch.int16)
    waveforms = build(Batch((BatchSlice(pcm, None, 0, 1),)), rows=3)
    assert waveforms.dtype == torch.float32
    assert waveforms[0].tolist() == [-1.0, 32_767 / 32_768, 0.5, 0.0, 1 / 32_768, -1 / 32_768]
    assert waveforms[1:].tolist() == [[0.0] * WINDOW] * 2


def test_channels_are_mixed_down_to_their_mean():
    native = NativeLayout(RATE, (0,), 1, STRIDE)
    pcm = torch.tensor([[[32_767, 32_767, -16_384]] * FRAMES], dtype=torch.int16)
    waveforms = build(Batch((BatchSlice(pcm, native, 0, 1),)))
    assert waveforms.numpy() == pytest.approx((32_767 * 2 - 16_384) / 3 / 32_768)


class CountingBuilder(WaveformBuilder):
    """Counts its views of windows."""

    cuts = 0

    def _cut(self, *args):
        self.cuts += 1
        return super()._cut(*args)


@pytest.mark.parametrize(
    ("offsets", "part", "cuts"),
    [
        ((2, 2, 2), (0, 12), 1),  # all windows of all regions, which all lie alike
        ((2, 2, 2), (2, 8), 1),
        ((2, 2, 2), (1, 8), 4),  # some windows of regions
        ((1, 1, 3), (0, 12), 6),
    ],
)
def test_regions_that_lie_alike_are_cut_all_at_once(offsets, part, cuts):
    batch = Batch((native_slice(layout(offsets), seed=1), native_slice(layout(offsets), seed=2))).part(*part)
    builder = CountingBuilder(RATE, WINDOW, CPU)
    assert np.abs(build(batch, builder=builder).numpy() - expected_waveforms(batch)).max() < 1e-6
    assert builder.cuts == cuts


@pytest.mark.parametrize("offsets", [(2, 2), (1, 0)])
def test_three_windows_of_a_region_lie_a_stride_apart(offsets):
    native = NativeLayout(RATE, offsets, 3, STRIDE)
    batch = Batch((native_slice(native),))
    assert np.abs(build(batch).numpy() - expected_waveforms(batch)).max() < 1e-6


def test_waveforms_are_built_of_the_pcm_of_every_group():
    with pytest.raises(ValueError, match="shorter"):
        WaveformBuilder(RATE, WINDOW, CPU).build(list(Batch((plain_slice(1),)).groups()), [], 1)


@pytest.mark.parametrize("offsets", [(2, 2, 2), (1, 0, 3), (0, 0, 6)])
@pytest.mark.parametrize("part", [(0, 12), (0, 6), (2, 10), (3, 9), (1, 12), (5, 7)])
def test_each_window_of_a_region_begins_where_the_layout_says(offsets, part):
    batch = Batch((native_slice(layout(offsets), seed=1), native_slice(layout(offsets), seed=2))).part(*part)
    assert np.abs(build(batch).numpy() - expected_waveforms(batch)).max() < 1e-6


@given(
    kinds=st.lists(st.integers(0, 3), min_size=1, max_size=8), ends=st.tuples(st.integers(0, 50), st.integers(0, 50))
)
def test_whatever_a_batch_is_made_of_each_row_is_its_window(kinds, ends):
    def make_slice(number, kind):
        if kind == 0:
            return plain_slice(1 + number % 3, value=100 * number)
        return native_slice(layout([(1, 0, 3), (2, 2, 2)][kind % 2]), channels=1 + kind // 2, seed=number)

    batch = Batch(tuple(make_slice(number, kind) for number, kind in enumerate(kinds)))
    begin, end = sorted(min(position, len(batch)) for position in ends)
    part = batch.part(begin, end)
    waveforms = build(part, rows=len(part) + 1).numpy()
    assert np.allclose(waveforms[:-1], expected_waveforms(batch)[begin:end], rtol=0, atol=1e-6)
    assert not waveforms[-1].any()


@pytest.mark.parametrize(
    ("rate", "sample_rate", "blocks"),
    [
        (44_100, 16_000, 1),  # 160 samples a period
        (48_000, 16_000, 256),  # 1 sample
        (24_000, 16_000, 128),  # 2 samples
        (22_050, 16_000, 1),  # 320 samples
        (1001, 1000, 1),  # 1000 samples
        (300, 254, 2),  # 127 samples
        (300, 258, 5),  # 43 samples
    ],
)
def test_about_256_samples_are_resampled_at_a_time(rate, sample_rate, blocks):
    assert resample_blocks(rate, sample_rate) == blocks


@pytest.mark.parametrize(("rate", "sample_rate"), [(1600, 800), (441, 160), (1001, 1000)])
def test_regions_of_another_rate_are_resampled_as_soxr_does_it(rate, sample_rate):
    """The last two rates have little in common with the model's, so that a period of resampling is long."""
    window, native = sample_rate // 2, NativeLayout(rate, (10, 10), 1, sample_rate // 2)
    slices = [native_slice(native, seed=seed, frames=2 * rate) for seed in (1, 2)]
    builder = WaveformBuilder(sample_rate, window, CPU)
    waveforms = build(Batch(tuple(slices)), builder=builder).numpy()
    regions = [region for slice_ in slices for region in slice_.pcm.numpy().astype(np.float64) / 32_768]
    resampled = [soxr.resample(region.mean(1), rate, sample_rate, "HQ")[10 : 10 + window] for region in regions]
    assert np.abs(waveforms - np.array(resampled)).max() < 1e-4


def test_each_rate_has_a_resampler_of_its_own_which_is_made_once():
    builder, made = WaveformBuilder(int("800"), 100, CPU), []
    slices = [native_slice(NativeLayout(rate, (0,), 1, 100), frames=rate) for rate in (1600, 400, 800, 1600)]
    for slice_ in slices:
        made.append(dict(builder._resamplers))
        build(Batch((slice_,)), builder=builder)
    assert [sorted(resamplers) for resamplers in made] == [[], [1600], [400, 1600], [400, 1600]]
    assert builder._resamplers[1600] is made[1][1600]
