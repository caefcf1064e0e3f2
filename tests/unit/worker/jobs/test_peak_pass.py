"""Windows that wait until the peak of their track is known."""

import tempfile
import threading

import numpy as np
import pytest
import torch

from tests.support.jobs import RATE_HZ, FakeBlock
from worker.errors import DecodeTimeoutError, TrackError, UnclassifiableError
from worker.inference.engine import Engine
from worker.jobs.peak_pass import HeldWindows, PeakPass
from worker.jobs.track_sink import TrackSink, WindowMean
from worker.models import checkpoints
from worker.models.checkpoints import Model
from worker.windowing import FrameCut

IN_MEMORY, IN_A_FILE = 1 << 20, 1  # bytes of windows that are held in memory


def block(value, frames=4, edge=False, windows=2):
    return FakeBlock(np.full((windows, 8), value, np.int16), FrameCut(frames, edge))


class TwoPasses:
    """A PeakPass in front of a TrackSink. The test answers the requests of both in the engine's place."""

    def __init__(self, memory_bytes=IN_MEMORY):
        self.requests, self.ends, self.results = [], [], []
        self.second_pass = TrackSink(self.requests.append, self.results.append, self.ends.append)
        self.sink = PeakPass(self.requests.append, self.second_pass, memory_bytes)

    def measure(self, *numbers_and_peaks):
        """Answer requests of the first pass with these peaks, all windows of a request with the same one."""
        for number, peak in numbers_and_peaks:
            request = self.requests[number]
            request.on_copied()
            request.on_result(np.full(request.windows, peak, np.float32))


@pytest.fixture(params=[IN_MEMORY, IN_A_FILE])
def passes(request):
    passes = TwoPasses(request.param)
    yield passes
    passes.sink._held.close()  # where the test ends before the track does


def test_windows_are_handed_on_in_order_with_the_peak_of_all_when_it_is_known(passes):
    blocks = [block(100, edge=True), block(200, 5), block(300, 6, windows=3), block(32_000, edge=True)]
    for each in blocks:
        passes.sink.windows(each)
    assert [request.wants_peak for request in passes.requests] == [True] * 4
    assert [request.pcm is each.pcm for request, each in zip(passes.requests, blocks, strict=True)] == [True] * 4
    passes.measure((2, 0.5), (0, 0.125), (1, 0.25))
    passes.sink.end()
    assert len(passes.requests) == 4
    passes.measure((3, 2.0))
    for each in blocks:
        assert len(each.releases) == 1
        each.pcm[:] = -1  # the decode pool uses the memory again

    assert len(passes.requests) == 5  # one block at a time
    passes.requests[4].on_copied()
    assert len(passes.requests) == 6
    passes.requests[5].on_copied()
    assert len(passes.requests) == 6
    first, second = passes.requests[4:]
    assert (first.pcm.tolist(), first.cut.frames) == ([[200] * 8] * 2, 5)
    assert (second.pcm.tolist(), second.cut.frames) == ([[300] * 8] * 3, 6)
    assert [(r.cut.peak, r.wants_peak, r.native) for r in (first, second)] == [(2.0, False, None)] * 2

    for request in (second, first):
        assert passes.ends == []
        request.on_result(np.zeros((request.windows, 3), np.float32))
    assert passes.ends == [None]
    assert [len(result) for result in passes.results] == [3, 2]


def test_the_peak_is_the_greatest_of_all_windows_wherever_it_is(passes):
    passes.sink.windows(block(1, windows=3))
    passes.sink.windows(block(2, windows=1))
    passes.sink.end()
    passes.requests[0].on_result(np.array([0.5, 4.0, 0.25], np.float32))
    passes.measure((1, 3.0))
    assert passes.requests[2].cut.peak == 4.0


def test_the_peak_of_silence_is_zero(passes):
    passes.sink.windows(block(0))
    passes.sink.end()
    passes.measure((0, 0.0))
    assert passes.requests[1].cut.peak == 0.0


def test_a_track_without_windows_ends(passes):
    passes.sink.end()
    assert passes.requests == []
    assert passes.ends == [None]


@pytest.mark.parametrize("by_decoder", [True, False])
def test_an_error_in_the_first_pass_ends_the_track_once_and_nothing_is_handed_on(passes, by_decoder):
    error = UnclassifiableError("no")
    passes.sink.windows(block(100))
    passes.sink.windows(block(200))
    passes.sink.failed(error) if by_decoder else passes.requests[0].on_error(error)
    assert passes.ends == [error]
    late = block(300)
    passes.sink.windows(late)
    assert len(late.releases) == 1
    passes.measure((1, 1.0))
    passes.sink.failed(DecodeTimeoutError("again"))
    passes.requests[1].on_error(UnclassifiableError("again"))
    passes.sink.end()
    assert passes.ends == [error]
    assert len(passes.requests) == 2


def test_an_error_in_the_second_pass_ends_the_track_and_no_further_block_is_handed_on(passes):
    error = UnclassifiableError("no")
    for value in (100, 200, 300):
        passes.sink.windows(block(value))
    passes.sink.end()
    passes.measure((0, 1.0), (1, 1.0), (2, 1.0))
    passes.requests[3].on_copied()
    assert len(passes.requests) == 5
    passes.requests[3].on_error(error)
    passes.requests[4].on_copied()
    assert passes.ends == [error]
    assert len(passes.requests) == 5


def test_a_file_that_cannot_be_read_back_fails_the_track():
    passes = TwoPasses()
    passes.sink.windows(block(100))
    passes.sink.end()
    passes.sink._held._file.truncate(1)
    passes.measure((0, 1.0))
    (error,) = passes.ends
    assert type(error) is TrackError
    assert "could not be kept until its loudest moment was known" in str(error)


def test_windows_go_to_a_temporary_file_when_there_are_too_many_for_the_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    held = HeldWindows(memory_bytes=64)
    held.put(block(1))  # 2 windows of 8 samples of 2 bytes
    held.put(block(2))
    with pytest.raises(FileNotFoundError):
        held.put(block(3))
    held.close()


def test_what_is_held_comes_back_block_by_block_until_it_is_dropped():
    held = HeldWindows(memory_bytes=64)
    for value in range(5):
        held.put(block(value, frames=value, windows=1 + value))
    for value in range(3):
        pcm, cut = held.take()
        assert cut == FrameCut(value)
        assert pcm.dtype == np.int16
        assert pcm.tolist() == [[value] * 8] * (1 + value)
    held.close()
    assert held.take() is None
    held.put(block(9))
    assert held.take() is None


class Loudness(torch.nn.Module):
    """A network that cuts by frames: the peak of a window is its greatest sample, its probabilities say what it got."""

    def peak(self, waveform, frames):
        return waveform.amax(1)

    def forward(self, waveform, frames, peaks):
        return torch.stack([waveform.amax(1), frames.float(), peaks], 1)


@pytest.mark.parametrize("memory_bytes", [IN_MEMORY, IN_A_FILE])
def test_a_track_goes_through_a_real_engine_in_two_passes(memory_bytes):
    model = Model(checkpoints.find_checkpoint("musicnn"), Loudness(), RATE_HZ, 8, (), "", hop=2)
    engine, finished, errors, mean = Engine.start(model, "cpu", threads=2), threading.Event(), [], WindowMean(3, "test")
    try:
        second_pass = TrackSink(engine.submit, mean.add, lambda error: (errors.append(error), finished.set()))
        sink = PeakPass(engine.submit, second_pass, memory_bytes)
        for value, edge in ((16_384, True), (4096, False), (8192, False), (1024, True), (2048, False)):
            sink.windows(block(value, edge=edge))
        sink.end()
        assert finished.wait(30)
    finally:
        engine.close()
    assert errors == [None]
    assert mean.windows == 6
    assert mean.mean().tolist() == [(0.125 + 0.25 + 0.0625) / 3, 4.0, 0.5]
    assert second_pass.peak is not None
