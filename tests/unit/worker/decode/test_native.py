"""Regions as the file has them: what a device makes of them is what the decoder would have made."""

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
from tests.unit.worker.decode.test_pool import Track
from worker.decode.pool import DecodePool
from worker.decode.protocol import pack_request, pack_windows, unpack_request, unpack_windows
from worker.decode.windows import read_windows
from worker.errors import SilentError
from worker.inference.batch import TOGETHER, Batch, BatchSlice, Waveforms, make_batch
from worker.inference.engine import Engine
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
    """A minute in stereo, written once."""
    path = folder / f"a.{kind}"
    return path if path.exists() else audio.write(path, stereo(60, KINDS[kind]), KINDS[kind])


def read(path, windowing, room=ROOM):
    return list(read_windows(os.fsencode(path), windowing, 99, np.zeros(room, np.int16)))


def on_device(found, windowing):
    """The waveforms of what was read, in int16's range."""
    request = WindowRequest(found.pcm, None, None, None, native=found.native)
    batch = make_batch([request], by_frames=False, copied=True)
    waveforms = Waveforms(windowing.sample_rate, windowing.window, torch.device("cpu"))
    return on_cpu(waveforms, batch).numpy() * 32_768


def on_cpu(waveforms, batch):
    groups = list(batch.groups())
    return waveforms(groups, [group.to(torch.device("cpu")) for group in groups], len(batch))


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
    samples[28 * 44_100 : 32 * 44_100] = 0  # a window of the second region, and a bit on both sides
    return samples


CUT_BY_THE_DECODER = {
    "short": (stereo(20, 44_100), 44_100, ROOM),
    "quiet": (stereo(60, 44_100, level=0.0015), 44_100, ROOM),
    "partly silent": (silent_middle(stereo(60, 44_100)), 44_100, ROOM),
    "a rate with little in common": (stereo(60, 44_101), 44_101, ROOM),
    "no room": (stereo(60, 44_100), 44_100, 1000),
}


@pytest.mark.parametrize("name", CUT_BY_THE_DECODER)
def test_where_that_is_not_sure_to_be_right_the_decoder_cuts(folder, name):
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
    batch, waveforms = Batch(tuple(slices)), Waveforms(8, 6, torch.device("cpu"))
    begin, end = sorted(min(at, len(batch)) for at in split)
    assert len(batch.part(begin, end)) == end - begin
    assert torch.equal(on_cpu(waveforms, batch.part(begin, end)), on_cpu(waveforms, batch)[begin:end])


def predict(engine, blocks):
    """The track's mean, from tickets in one batch with others."""
    found = []
    for block in blocks:
        engine.submit(
            WindowRequest(block.pcm, lambda: None, lambda p: found.append(p.copy()), print, native=block.native)
        )
    wait_until(lambda: len(found) == len(blocks))
    return np.concatenate(found).mean(0)


def test_an_engine_gives_the_same_probabilities_for_them(folder):
    """On the CPU; of a GPU, see test_gpu."""
    engine = Engine(checkpoints.load_model(checkpoints.find_checkpoint("musicnn"), "cpu"), "cpu", threads=1)
    try:
        for kind in ("flac", "mp3", "opus"):
            path = minute(folder, kind)
            means = [predict(engine, read(path, replace(MUSICNN, native=native))) for native in (True, False)]
            assert np.abs(means[0] - means[1]).max() < 2e-3
    finally:
        engine.close()


def test_tickets_of_every_kind_share_a_batch_and_get_their_own_windows(folder):
    """Among them some that lie alike, which are taken together, and more of these than are taken at a time."""
    model = Model(Checkpoint("first", "1", None, ""), First(), 16_000, MUSICNN.window, (), "")
    blocks = [read(minute(folder, kind), MUSICNN)[0] for kind in ("wav", "opus")]
    plain = read(minute(folder, "wav"), replace(MUSICNN, native=False))
    engine, found = Engine(model, "cpu", threads=1), {}
    requests = [*[blocks[0]] * (TOGETHER + 2), *plain, blocks[1], *plain, blocks[0]]
    expected = {id(block): on_device(block, MUSICNN) if block.native else block.pcm for block in requests}
    engine._most = 1000
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


def test_the_words_between_parent_and_child_say_all_of_it():
    for windowing in (MUSICNN, VGG, Windowing(16_000, 100, "full", band_hz=7)):
        assert unpack_request(pack_request(b"/a/\xff b", windowing)) == (b"/a/\xff b", windowing)


def test_children_hand_them_over_in_shared_memory(folder):
    path = audio.write(folder / "pool.flac", stereo(60, 44_100), 44_100)
    pool = DecodePool(1, native=True)
    try:
        sink = Track(hold=True)
        pool.submit(os.fsencode(path), MUSICNN, sink)
        sink.wait()
        (found,) = sink.blocks
        (expected,) = read(path, MUSICNN)
        assert found.native == expected.native
        assert found.windows == 9
        assert np.array_equal(found.pcm, expected.pcm)
        assert np.shares_memory(found.pcm, pool.memory)
        again = unpack_windows(expected.pcm.ravel(), 9, MUSICNN.window, pack_windows(expected))
        assert again.native == expected.native
        assert np.array_equal(again.pcm, expected.pcm)
    finally:
        sink.blocks.clear()
        pool.close()
