"""Native regions: what a device makes of them is what the decode process would have made."""

import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import wait_until
from tests.support import audio
from tests.unit.worker.decode.helpers import submit
from worker.decode.windows import read_windows
from worker.errors import SilentError
from worker.inference.batch import MAX_GROUP_SLICES, Batch, BatchSlice, WaveformBuilder, make_batch
from worker.inference.batch_size import BatchCost, Profile
from worker.inference.engine import Engine
from worker.inference.executors import CpuExecutor
from worker.inference.requests import WindowRequest
from worker.models import checkpoints
from worker.models.checkpoints import Checkpoint, Model
from worker.models.networks import vgg
from worker.windowing import NativeLayout, Windowing

MUSICNN = Windowing(16_000, 47_872, native=True)
VGG = Windowing(22_050, vgg.WINDOW, hop=vgg.HOP, native=True)
ROOM = 1 << 22  # samples
KINDS = {"wav": 44_100, "flac": 44_100, "mp3": 44_100, "ogg": 44_100, "opus": 48_000, "m4a": 44_100, "wv": 44_100}


def stereo(seconds, rate, level=0.4):
    """Channels that differ."""
    tone, time = audio.sweep(seconds, rate, level=level), np.arange(round(seconds * rate)) / rate
    return np.stack([tone, level * np.sin(2 * np.pi * 330 * time).astype(np.float32)], 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("native")


def minute(folder, kind):
    """The path of a minute in stereo, which is written once."""
    path = folder / f"a.{kind}"
    return path if path.exists() else audio.write(path, stereo(60, KINDS[kind]), KINDS[kind])


def read(path, windowing, room=ROOM):
    return list(read_windows(os.fsencode(path), windowing, 99, np.zeros(room, np.int16)))


def on_device(found, windowing):
    """The waveforms that a device makes of what was read, in the range of int16."""
    request = WindowRequest(found.pcm, None, None, None, native=found.native)
    batch = make_batch([request], copied=True)
    waveforms = WaveformBuilder(windowing.sample_rate, windowing.window, torch.device("cpu"))
    return on_cpu(waveforms, batch).numpy() * 32_768


def on_cpu(waveforms, batch):
    groups = list(batch.groups())
    return waveforms.build(groups, [group.copy_pcm(torch.device("cpu")) for group in groups], len(batch))


@pytest.mark.parametrize("windowing", [MUSICNN, VGG], ids=["windows back to back", "windows by frames"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_device_makes_the_same_windows_of_them(folder, kind, windowing):
    path, rate = minute(folder, kind), KINDS[kind]
    (found,) = read(path, windowing)
    expected = np.concatenate([block.pcm for block in read(path, replace(windowing, native=False))])
    assert found.native.rate in (rate, rate // 2)
    assert len(found.native) == len(expected)
    assert found.pcm.shape[2] == (2 if kind in ("wav", "flac") else 1)
    assert np.abs(on_device(found, windowing) - expected).max() <= 2


@pytest.mark.parametrize("rate", [22_050, 24_000, 32_000, 48_000, 96_000])
def test_every_usual_rate_is_resampled_as_soxr_does_it(folder, rate):
    path = audio.write(folder / f"{rate}.wav", audio.sweep(40, rate), rate)
    (found,) = read(path, MUSICNN)
    expected = read(path, replace(MUSICNN, native=False))[0].pcm
    assert found.native.rate == rate
    assert np.abs(on_device(found, MUSICNN) - expected).max() <= 2


def silent_middle(samples):
    samples[28 * 44_100 : 32 * 44_100] = 0  # A window of the second region, and a bit on both sides.
    return samples


CUT_BY_THE_DECODER = {
    "short": (stereo(20, 44_100), 44_100, ROOM),
    "quiet": (stereo(60, 44_100, level=0.0015), 44_100, ROOM),
    "partly silent": (silent_middle(stereo(60, 44_100)), 44_100, ROOM),
    "a rate with little in common": (stereo(60, 44_101), 44_101, ROOM),
    "no room": (stereo(60, 44_100), 44_100, 1000),
}


@pytest.mark.parametrize("name", CUT_BY_THE_DECODER)
def test_where_native_regions_may_be_wrong_the_decode_process_cuts_windows(folder, name):
    samples, rate, room = CUT_BY_THE_DECODER[name]
    path = audio.write(folder / f"{name}.wav", samples, rate)
    found, expected = read(path, MUSICNN, room), read(path, replace(MUSICNN, native=False))
    assert all(block.native is None for block in found)
    assert np.array_equal(found[0].pcm, expected[0].pcm)


def test_channels_that_cancel_each_other_out_are_silence(folder):
    left = audio.sweep(60, 44_100)
    path = audio.write(folder / "phase.wav", np.stack([left, -left], 1), 44_100)
    with pytest.raises(SilentError, match="nothing in it is louder"):
        read(path, MUSICNN)


def test_a_damaged_region_is_read_by_the_decoder_that_can(folder):
    path = audio.write(folder / "damaged.flac", stereo(60, 44_100), 44_100)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4096] = bytes(4096)
    path.write_bytes(data)
    found = read(path, MUSICNN)
    assert found
    assert all(block.native is None for block in found)


def test_float_and_surround_files_come_mixed_down(folder):
    samples = np.stack([audio.sweep(60, 44_100, level=0.2)] * 6, 1)
    for name, subtype in (("float", "FLOAT"), ("surround", "PCM_16")):
        path = folder / f"{name}.wav"
        soundfile.write(path, samples[:, : 2 if subtype == "FLOAT" else 6], 44_100, subtype)
        (found,) = read(path, MUSICNN)
        expected = np.concatenate([block.pcm for block in read(path, replace(MUSICNN, native=False))])
        assert found.pcm.shape[2] == 1
        assert np.abs(on_device(found, MUSICNN) - expected).max() <= 2


@given(
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    split=st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_parts_of_a_batch_are_parts_of_its_windows(counts, split):
    slices = []
    for number, count in enumerate(counts):
        native = NativeLayout(8, ((1, 0, 3), (2, 2, 2))[count % 2], 2, 4) if count > 2 else None
        shape = (3, 16, 2) if native else (count, 6)
        pcm = torch.from_numpy(np.random.default_rng(number).integers(-99, 99, shape).astype(np.int16))
        slices.append(BatchSlice(pcm, native, 0, len(native or pcm)))
    batch, waveforms = Batch(tuple(slices)), WaveformBuilder(8, 6, torch.device("cpu"))
    begin, end = sorted(min(at, len(batch)) for at in split)
    assert len(batch.part(begin, end)) == end - begin
    assert torch.equal(on_cpu(waveforms, batch.part(begin, end)), on_cpu(waveforms, batch)[begin:end])


def predict(engine, blocks):
    """The mean probabilities of a track."""
    found = []
    for block in blocks:
        engine.submit(
            WindowRequest(block.pcm, lambda: None, lambda p: found.append(p.copy()), print, native=block.native)
        )
    wait_until(lambda: len(found) == len(blocks))
    return np.concatenate(found).mean(0)


def test_an_engine_gives_the_same_probabilities_for_them(folder):
    """On the CPU. The tests on a GPU are those of worker.inference."""
    engine = Engine.start(checkpoints.load_model(checkpoints.find_checkpoint("musicnn"), "cpu"), "cpu", threads=1)
    try:
        for kind in ("flac", "mp3", "opus"):
            path = minute(folder, kind)
            means = [predict(engine, read(path, replace(MUSICNN, native=native))) for native in (True, False)]
            assert np.abs(means[0] - means[1]).max() < 2e-3
    finally:
        engine.close()


def test_requests_of_every_kind_share_a_batch_and_get_their_own_windows(folder):
    """Some of them have the same layout, and are resampled together. These are more than are resampled at a time."""
    model = Model(Checkpoint("first", "1", None, ""), First(), 16_000, MUSICNN.window, (), "")
    blocks = [read(minute(folder, kind), MUSICNN)[0] for kind in ("wav", "opus")]
    plain = read(minute(folder, "wav"), replace(MUSICNN, native=False))
    one_batch = Profile((BatchCost(1024, seconds=1.0, peak_bytes=0),))
    engine, found = Engine(model, "cpu", CpuExecutor(model), lambda: one_batch), {}
    requests = [*[blocks[0]] * (MAX_GROUP_SLICES + 2), *plain, blocks[1], *plain, blocks[0]]
    expected = {id(block): on_device(block, MUSICNN) if block.native else block.pcm for block in requests}
    for number, block in enumerate(requests):
        keep = partial(found.__setitem__, number)
        engine.submit(
            WindowRequest(block.pcm, lambda: None, lambda p, keep=keep: keep(p.copy()), print, native=block.native)
        )
    engine.close()
    assert len(found) == len(requests)
    for number, block in enumerate(requests):
        assert np.abs(found[number] - expected[id(block)][:, 1000:1004]).max() < 0.01


class First(torch.nn.Module):
    """Gives four samples of each window back."""

    def forward(self, waveform):
        return waveform[:, 1000:1004] * 32_768


def test_native_regions_come_through_a_pool_in_its_shared_memory(folder, pool_of):
    path = audio.write(folder / "pool.flac", stereo(60, 44_100), 44_100)
    pool = pool_of(native=True)
    sink = submit(pool, os.fsencode(path), MUSICNN, hold=True)
    assert sink.wait() is None
    (found,) = sink.blocks
    (expected,) = read(path, MUSICNN)
    assert found.native == expected.native
    assert found.windows == 9
    assert np.array_equal(found.pcm, expected.pcm)
    assert np.shares_memory(found.pcm, pool.memory)
