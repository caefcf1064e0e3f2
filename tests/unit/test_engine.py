"""The engine: windows in, probabilities out, whoever they belong to."""

import threading

import numpy as np
import pytest
import torch

from worker import checkpoints
from worker.checkpoints import Model
from worker.engine import Engine, Ticket
from worker.errors import Unclassifiable


class Answers:
    """Collects what the engine says of submitted tickets."""

    def __init__(self):
        self.taken, self.scored, self.refused = [], {}, {}
        self._done = threading.Semaphore(0)

    def ticket(self, name, pcm) -> Ticket:
        return Ticket(pcm, lambda: self.taken.append(name), lambda p: self._end(self.scored, name, p.copy()),
                      lambda e: self._end(self.refused, name, e))  # fmt: skip

    def _end(self, kind, name, value):
        kind[name] = value
        self._done.release()

    def wait(self, count):
        for _ in range(count):
            assert self._done.acquire(timeout=60)


@pytest.fixture(scope="module")
def model():
    return checkpoints.load(checkpoints.find("musicnn"), "cpu")


def noise(windows, window, seed):
    return np.random.default_rng(seed).integers(-9000, 9000, (windows, window), dtype=np.int16)


def test_probabilities_do_not_depend_on_the_company_in_a_batch(model):
    engine, answers = Engine(model, "cpu", lanes=2), Answers()
    tracks = {seed: noise(1 + seed % 4, model.window, seed) for seed in range(12)}
    tracks["long"] = noise(40, model.window, 99)
    for name, pcm in tracks.items():
        engine.submit(answers.ticket(name, pcm))
    answers.wait(len(tracks))
    engine.close()
    assert sorted(map(str, answers.taken)) == sorted(map(str, tracks))
    for name, pcm in tracks.items():
        with torch.inference_mode():
            alone = model.network(torch.from_numpy(pcm).float() / 32768).numpy()
        assert answers.scored[name].shape == (len(pcm), len(model.labels))
        assert np.abs(answers.scored[name] - alone).max() < 1e-5


def test_close_predicts_what_was_submitted(model):
    engine, answers = Engine(model, "cpu", lanes=1), Answers()
    for name in range(20):
        engine.submit(answers.ticket(name, noise(2, model.window, name)))
    engine.close()
    assert len(answers.scored) == 20
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit(answers.ticket("late", noise(1, model.window, 0)))


class Picky(torch.nn.Module):
    """A network that fails on loud windows."""

    def forward(self, waveform):
        if waveform.abs().max() > 0.5:
            raise RuntimeError("too loud")
        return waveform[:, :2]


def test_a_batch_that_fails_is_refused_and_the_next_one_goes_on(model):
    engine, answers = Engine(Model(model.checkpoint, Picky(), 16_000, 8, (), ""), "cpu", lanes=1), Answers()
    engine.submit(answers.ticket("loud", np.full((9, 8), 32_000, np.int16)))
    engine.submit(answers.ticket("quiet", np.full((9, 8), 16, np.int16)))
    answers.wait(2)
    engine.close()
    assert isinstance(answers.refused["loud"], Unclassifiable)
    assert answers.scored["quiet"].shape == (9, 2)


def test_a_callback_that_raises_does_not_stop_the_engine(model):
    engine, answers = Engine(model, "cpu", lanes=1), Answers()

    def fail(_):
        raise OSError("no")

    engine.submit(Ticket(noise(9, model.window, 1), lambda: None, fail, fail))
    engine.submit(answers.ticket("next", noise(9, model.window, 2)))
    answers.wait(1)
    engine.close()
    assert list(answers.scored) == ["next"]
