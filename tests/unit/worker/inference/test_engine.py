"""The engine: windows in, probabilities out, whoever they belong to."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from worker.errors import UnclassifiableError
from worker.inference.engine import Engine
from worker.inference.requests import WindowRequest
from worker.jobs.peak_pass import PeakPass
from worker.models import checkpoints
from worker.models.checkpoints import Model


class Answers:
    """Collects what the engine says of submitted tickets."""

    def __init__(self):
        self.taken, self.scored, self.refused = [], {}, {}
        self._done = threading.Semaphore(0)

    def request(self, name, pcm) -> WindowRequest:
        return WindowRequest(pcm, lambda: self.taken.append(name), lambda p: self._end(self.scored, name, p.copy()),
                      lambda e: self._end(self.refused, name, e))  # fmt: skip

    def _end(self, names, name, value):
        names[name] = value
        self._done.release()

    def wait(self, count):
        for _ in range(count):
            assert self._done.acquire(timeout=60)


@pytest.fixture(scope="module")
def model():
    return checkpoints.load_model(checkpoints.find_checkpoint("musicnn"), "cpu")


def noise(windows, window, seed):
    return np.random.default_rng(seed).integers(-9000, 9000, (windows, window), dtype=np.int16)


def test_probabilities_do_not_depend_on_the_company_in_a_batch(model):
    engine, answers = Engine(model, "cpu", threads=2), Answers()
    tracks = {seed: noise(1 + seed % 4, model.window, seed) for seed in range(12)}
    tracks["long"] = noise(40, model.window, 99)
    for name, pcm in tracks.items():
        engine.submit(answers.request(name, pcm))
    answers.wait(len(tracks))
    engine.close()
    assert sorted(map(str, answers.taken)) == sorted(map(str, tracks))
    for name, pcm in tracks.items():
        with torch.inference_mode():
            alone = model.network(torch.from_numpy(pcm).float() / 32768).numpy()
        assert answers.scored[name].shape == (len(pcm), len(model.labels))
        assert np.abs(answers.scored[name] - alone).max() < 1e-5


def test_close_predicts_what_was_submitted(model):
    engine, answers = Engine(model, "cpu", threads=1), Answers()
    for name in range(20):
        engine.submit(answers.request(name, noise(2, model.window, name)))
    engine.close()
    assert len(answers.scored) == 20
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit(answers.request("late", noise(1, model.window, 0)))


class Picky(torch.nn.Module):
    """A network that fails on loud windows."""

    def forward(self, waveform):
        if waveform.abs().max() > 0.5:
            raise RuntimeError("too loud")
        return waveform[:, :2]


def test_a_batch_that_fails_is_refused_and_the_next_one_goes_on(model):
    engine, answers = Engine(Model(model.checkpoint, Picky(), 16_000, 8, (), ""), "cpu", threads=1), Answers()
    engine.submit(answers.request("loud", np.full((9, 8), 32_000, np.int16)))
    engine.submit(answers.request("quiet", np.full((9, 8), 16, np.int16)))
    answers.wait(2)
    engine.close()
    assert isinstance(answers.refused["loud"], UnclassifiableError)
    assert answers.scored["quiet"].shape == (9, 2)


def test_a_callback_that_raises_does_not_stop_the_engine(model):
    engine, answers = Engine(model, "cpu", threads=1), Answers()

    def fail(_):
        raise OSError("no")

    engine.submit(WindowRequest(noise(9, model.window, 1), lambda: None, fail, fail))
    engine.submit(answers.request("next", noise(9, model.window, 2)))
    answers.wait(1)
    engine.close()
    assert list(answers.scored) == ["next"]


class Loudness(torch.nn.Module):
    """A network that cuts by frames: it gives each window's frames and peak back."""

    def peak(self, waveform, lengths):
        return waveform.amax(1) + lengths

    def forward(self, waveform, lengths, peaks):
        return torch.stack([lengths.float(), peaks], 1)


@pytest.fixture
def by_frames(model):
    engine = Engine(Model(model.checkpoint, Loudness(), 16_000, 8, (), "", hop=2), "cpu", threads=2)
    yield engine
    engine.close()


def test_frames_and_peaks_stay_with_their_windows(by_frames):
    answers = Answers()
    for name in range(40):
        request = answers.request(name, np.full((1 + name % 4, 8), 16 * name, np.int16))
        by_frames.submit(replace(request, frames=name, peak=name / 2, wants_peak=name % 3 == 0))
    answers.wait(40)
    for name, found in answers.scored.items():
        expected = [16 * name / 32_768 + name] if name % 3 == 0 else [[name, name / 2]]
        assert np.allclose(found, expected * (1 + name % 4))


class Scores:
    """Collects what a replay hands on."""

    def __init__(self):
        self.peak, self.seen, self.ended, self.error = None, [], threading.Event(), None

    def windows(self, block):
        self.seen.append((block.pcm.copy(), block.frames, self.peak))
        block.release()

    def end(self):
        self.ended.set()

    def failed(self, error):
        self.error = error
        self.ended.set()


def block(value, frames=4, edge=False, windows=2):
    return SimpleNamespace(
        pcm=np.full((windows, 8), value, np.int16), frames=frames, edge=edge, release=lambda: None
    )  # fmt: skip


@pytest.mark.parametrize("memory", [1 << 20, 1])
def test_a_replay_holds_windows_until_the_peak_of_all_is_known(by_frames, monkeypatch, memory):
    monkeypatch.setattr("worker.jobs.peak_pass.MEMORY_BYTES", memory)
    scores = Scores()
    replay = PeakPass(by_frames, scores)
    for value, edge in ((100, True), (200, False), (300, False), (32_000, True)):
        replay.windows(block(value, edge=edge))
    assert not scores.seen
    replay.end()
    assert scores.ended.wait(10)
    assert [pcm[0, 0] for pcm, _, _ in scores.seen] == [200, 300]
    assert [frames for _, frames, _ in scores.seen] == [4, 4]
    assert [peak for _, _, peak in scores.seen] == pytest.approx([32_000 / 32_768 + 4] * 2)


def test_a_replay_of_a_track_that_fails_says_so_once(by_frames):
    scores, error = Scores(), UnclassifiableError("no")
    replay = PeakPass(by_frames, scores)
    replay.windows(block(100))
    replay.failed(error)
    replay.failed(UnclassifiableError("again"))
    assert scores.ended.wait(10)
    assert scores.error is error
    assert not scores.seen


def test_a_replay_without_windows_ends(by_frames):
    scores = Scores()
    PeakPass(by_frames, scores).end()
    assert scores.ended.wait(10)
    assert scores.error is None
