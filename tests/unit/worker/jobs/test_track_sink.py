"""The windows of one track on their way through the engine. The tests answer the requests in the engine's place."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.jobs import FakeBlock
from worker.errors import DecodeTimeoutError, UnclassifiableError
from worker.jobs.track_sink import TrackSink, WindowMean
from worker.windowing import FrameCut, NativeLayout

FIRST, SECOND = [[0.25, 0.75], [0.5, 0.5]], [[1.0, 0.0]]  # probabilities of a block of two windows, and of one window
MEAN = [1.75 / 3, 1.25 / 3]


class Track:
    """A sink, what it has submitted, and what it has said at its end."""

    def __init__(self):
        self.mean, self.requests, self.ends = WindowMean(2, "musicnn"), [], []
        self.sink = TrackSink(self.requests.append, self.mean.add, self.ends.append)

    def answer(self, number, probabilities):
        self.requests[number].on_result(np.array(probabilities, np.float32))


def block(windows=1, **options):
    return FakeBlock(np.zeros((windows, 8), np.int16), **options)


@pytest.fixture
def track():
    return Track()


@pytest.fixture
def submitted(track):
    """A track with two windows and one window in the engine."""
    track.sink.windows(block(2))
    track.sink.windows(block(1))
    return track


def test_a_track_ends_with_the_last_result_when_the_decoder_was_faster(submitted):
    submitted.sink.end()
    submitted.answer(0, FIRST)
    assert submitted.ends == []
    assert not submitted.sink.finished
    assert [request.wants_peak for request in submitted.requests] == [False, False]
    submitted.answer(1, SECOND)
    assert submitted.ends == [None]
    assert submitted.sink.finished
    assert submitted.mean.mean() == pytest.approx(MEAN)


def test_a_track_ends_with_the_decoder_when_all_results_were_there(submitted):
    submitted.answer(1, SECOND)
    submitted.answer(0, FIRST)
    assert submitted.ends == []
    submitted.sink.end()
    assert submitted.ends == [None]
    assert submitted.mean.mean() == pytest.approx(MEAN)


def test_a_track_without_windows_ends_with_the_decoder(track):
    track.sink.end()
    assert track.ends == [None]


def test_an_error_of_the_decoder_ends_the_track_and_later_results_are_ignored(submitted):
    error = DecodeTimeoutError("too slow")
    submitted.answer(0, FIRST)
    submitted.sink.failed(error)
    assert submitted.ends == [error]
    submitted.answer(1, SECOND)
    submitted.sink.end()
    assert submitted.ends == [error]
    assert submitted.mean.windows == 2


def test_windows_that_the_engine_refuses_end_the_track_before_the_decoder_does(submitted):
    error = UnclassifiableError("no")
    submitted.requests[1].on_error(error)
    assert submitted.ends == [error]
    submitted.answer(0, FIRST)
    submitted.requests[0].on_error(UnclassifiableError("again"))
    submitted.sink.end()
    submitted.sink.failed(DecodeTimeoutError("too slow"))
    assert submitted.ends == [error]


def test_blocks_that_come_after_the_end_are_released_unread(track):
    track.sink.failed(UnclassifiableError("no"))
    late = block()
    track.sink.windows(late)
    assert track.requests == []
    assert len(late.releases) == 1


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_probability_that_is_no_number_fails_the_track(submitted, wrong):
    submitted.sink.end()
    submitted.answer(0, [[0.5, 0.5], [wrong, 0.5]])
    submitted.answer(1, SECOND)
    (error,) = submitted.ends
    assert isinstance(error, UnclassifiableError)
    assert str(error) == "the model musicnn gave no number for some of its windows"


@pytest.mark.parametrize("probabilities", [[[0.5], [0.5]], [[0.1] * 3] * 2, [0.5, 0.5]])
def test_more_or_fewer_probabilities_than_genres_fail_the_track(submitted, probabilities):
    submitted.answer(0, probabilities)
    (error,) = submitted.ends
    assert isinstance(error, UnclassifiableError)
    assert "for 2 genres" in str(error)


@pytest.mark.parametrize("wants_peak", [False, True])
def test_the_engine_is_told_all_that_a_block_says(wants_peak):
    requests, block = [], FakeBlock(np.ones((1, 8), np.int16), FrameCut(490))
    sink = TrackSink(requests.append, print, print, wants_peak=wants_peak)
    sink.windows(block)
    sink.peak = 0.25
    sink.windows(block)
    first, second = requests
    assert first.pcm is block.pcm
    assert (first.cut.frames, first.wants_peak, first.native) == (490, wants_peak, None)
    assert first.cut.peak is None
    assert second.cut.peak == 0.25
    first.on_copied()
    assert len(block.releases) == 1


def test_the_windows_of_native_regions_are_counted_not_the_regions(track):
    native = NativeLayout(44_100, offsets=(10, 11, 12), windows=3, stride=47_872)
    track.sink.windows(FakeBlock(np.zeros((3, 500, 2), np.int16), native=native))
    track.sink.end()
    assert track.requests[0].native is native
    track.answer(0, [[0.5, 0.5]] * 8)
    assert track.ends == []
    track.answer(0, [[0.5, 0.5]])
    assert track.ends == [None]


@given(st.data())
def test_in_whatever_order_things_happen_a_track_ends_once_and_with_the_mean_of_all(data):
    sizes = data.draw(st.lists(st.integers(1, 4), max_size=6))
    track, random = Track(), np.random.default_rng(0)
    probabilities = [random.random((size, 2), np.float32) for size in sizes]
    steps = data.draw(st.permutations([*range(len(sizes)), "end"]))
    for size in sizes:
        track.sink.windows(block(size))
    for step in steps:
        assert track.ends == []
        track.sink.end() if step == "end" else track.answer(step, probabilities[step])
    assert track.ends == [None]
    if sizes:
        assert np.allclose(track.mean.mean(), np.concatenate(probabilities).astype(np.float64).mean(0))
        assert track.mean.windows == sum(sizes)


def test_results_that_come_from_many_threads_at_once_are_all_counted(track):
    for _ in range(400):
        track.sink.windows(block())
    track.sink.end()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: track.answer(number, [[number, 1.0]]), range(400)))
    assert track.ends == [None]
    assert track.mean.mean().tolist() == [199.5, 1.0]


def test_probabilities_and_embeddings_have_means_of_their_own():
    mean = WindowMean(2, "musicnn", embedding_size=3)
    mean.add(np.array([[0.25, 0.75, 1, 2, 3], [0.5, 0.5, 4, 5, 6]], np.float32))
    mean.add(np.array([[1.0, 0.0, 1, 1, 0]], np.float32))
    assert mean.mean() == pytest.approx(MEAN)
    assert mean.embedding().tolist() == [2, 8 / 3, 3]
    assert mean.windows == 3


def test_without_embeddings_there_is_an_empty_one():
    mean = WindowMean(2, "musicnn")
    mean.add(np.array(FIRST, np.float32))
    assert mean.embedding().shape == (0,)


def test_embeddings_do_not_change_a_bit_of_the_mean_of_probabilities():
    results = np.random.default_rng(0).random((1000, 250), np.float32)
    with_embeddings, without = WindowMean(50, "musicnn", embedding_size=200), WindowMean(50, "musicnn")
    for part in np.array_split(results, 7):
        with_embeddings.add(part)
        without.add(part[:, :50].copy())
    assert with_embeddings.mean().tobytes() == without.mean().tobytes()
    assert np.allclose(with_embeddings.embedding(), results[:, 50:].astype(np.float64).mean(0), rtol=1e-12)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_an_embedding_that_is_no_number_does_not_fail_the_track(wrong):
    mean = WindowMean(2, "musicnn", embedding_size=1)
    for value in (1, wrong, -wrong):
        mean.add(np.array([[0.5, 0.5, value]], np.float32))
    assert mean.mean().tolist() == [0.5, 0.5]
    assert np.isnan(mean.embedding()).all()


def test_a_probability_that_is_no_number_fails_the_track_beside_an_embedding():
    mean = WindowMean(2, "musicnn", embedding_size=1)
    with pytest.raises(UnclassifiableError, match="gave no number"):
        mean.add(np.array([[0.5, math.nan, 1]], np.float32))


@pytest.mark.parametrize("width", [2, 4, 6])
def test_another_width_than_that_of_probabilities_and_embedding_fails_the_track(width):
    mean = WindowMean(2, "musicnn", embedding_size=3)
    with pytest.raises(UnclassifiableError, match=r"\(1, \d\) for 2 genres and an embedding of 3 values"):
        mean.add(np.zeros((1, width), np.float32))


def test_the_mean_of_thousands_of_windows_does_not_lose_digits():
    mean = WindowMean(1, "musicnn")
    for _ in range(100):
        mean.add(np.full((1000, 1), 0.1, np.float32))
    assert mean.windows == 100_000
    assert mean.mean()[0] == pytest.approx(np.float32(0.1), rel=1e-12)
