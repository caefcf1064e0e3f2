"""The engine's threads: windows in, probabilities out, whoever they belong to."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import wait_until
from tests.support.paths import ROOT
from tests.unit.worker.inference.simulated_gpu import POISON, PROFILE, Requests, SimulatedGpu, simulated_engine
from worker.errors import UnclassifiableError
from worker.inference.batch_size import Profile
from worker.inference.engine import Engine
from worker.inference.requests import WindowRequest
from worker.models import checkpoints
from worker.models.checkpoints import Model
from worker.windowing import FrameCut


class Answers:
    """Collects what the engine says of submitted requests, by their names."""

    def __init__(self):
        self.copied, self.results, self.errors = [], {}, {}
        self._done = threading.Semaphore(0)

    def request(self, name, pcm) -> WindowRequest:
        return WindowRequest(
            pcm,
            lambda: self.copied.append(name),
            lambda predictions: self._end(self.results, name, predictions.copy()),
            lambda error: self._end(self.errors, name, error),
        )

    def _end(self, answers, name, answer):
        answers[name] = answer
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
    engine, answers = Engine.start(model, "cpu", threads=2), Answers()
    tracks = {seed: noise(1 + seed % 4, model.window, seed) for seed in range(12)}
    tracks["long"] = noise(40, model.window, 99)
    for name, pcm in tracks.items():
        engine.submit(answers.request(name, pcm))
    answers.wait(len(tracks))
    engine.close()
    assert sorted(map(str, answers.copied)) == sorted(map(str, tracks))
    for name, pcm in tracks.items():
        with torch.inference_mode():
            alone = model.network(torch.from_numpy(pcm).float() / 32768).numpy()
        assert answers.results[name].shape == (len(pcm), len(model.labels))
        assert np.abs(answers.results[name] - alone).max() < 1e-5


def test_close_predicts_what_was_submitted(model):
    engine, answers = Engine.start(model, "cpu", threads=1), Answers()
    for name in range(20):
        engine.submit(answers.request(name, noise(2, model.window, name)))
    engine.close()
    assert len(answers.results) == 20
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit(answers.request("late", noise(1, model.window, 0)))


class Picky(torch.nn.Module):
    """A network that fails on loud windows."""

    def forward(self, waveform):
        if waveform.abs().max() > 0.5:
            raise RuntimeError("too loud")
        return waveform[:, :2]


def test_a_batch_that_fails_is_refused_and_the_next_one_goes_on(model):
    picky, answers = Model(model.checkpoint, Picky(), 16_000, 8, (), ""), Answers()
    engine = Engine.start(picky, "cpu", threads=1)
    engine.submit(answers.request("loud", np.full((9, 8), 32_000, np.int16)))
    engine.submit(answers.request("quiet", np.full((9, 8), 16, np.int16)))
    answers.wait(2)
    engine.close()
    assert isinstance(answers.errors["loud"], UnclassifiableError)
    assert answers.results["quiet"].shape == (9, 2)


def test_a_callback_that_raises_does_not_stop_the_engine(model):
    engine, answers = Engine.start(model, "cpu", threads=1), Answers()

    def fail(_):
        raise OSError("no")

    engine.submit(WindowRequest(noise(9, model.window, 1), lambda: None, fail, fail))
    engine.submit(answers.request("next", noise(9, model.window, 2)))
    answers.wait(1)
    engine.close()
    assert list(answers.results) == ["next"]


class Loudness(torch.nn.Module):
    """A network that cuts by frames: it gives each window's frames and peak back."""

    def peak(self, waveform, lengths):
        return waveform.amax(1) + lengths

    def forward(self, waveform, lengths, peaks):
        return torch.stack([lengths.float(), peaks], 1)


def test_frames_and_peaks_stay_with_their_windows(model):
    engine = Engine.start(Model(model.checkpoint, Loudness(), 16_000, 8, (), "", hop=2), "cpu", threads=2)
    answers = Answers()
    for name in range(40):
        request = answers.request(name, np.full((1 + name % 4, 8), 16 * name, np.int16))
        engine.submit(replace(request, cut=FrameCut(name, peak=name / 2), wants_peak=name % 3 == 0))
    answers.wait(40)
    engine.close()
    for name, found in answers.results.items():
        expected = [16 * name / 32_768 + name] if name % 3 == 0 else [[name, name / 2]]
        assert np.allclose(found, expected * (1 + name % 4))


@given(
    sizes=st.lists(st.integers(1, 70), min_size=1, max_size=12),
    free=st.lists(st.integers(0, 40), min_size=1, max_size=8),
    poisoned=st.sets(st.integers(0, 11), max_size=2),
)
@settings(deadline=None, max_examples=60)
def test_every_window_is_predicted_once_and_only_what_fails_by_itself_is_refused(sizes, free, poisoned):
    engine, requests = simulated_engine(SimulatedGpu(free)), Requests(sizes, poisoned)
    for request in requests:
        engine.submit(request)
    engine.close()
    assert sorted(requests.copied) == list(range(len(sizes)))
    for number, pcm in enumerate(requests.pcm):
        refused = pcm[0, 0] == POISON and requests.refused_once(number)  # on the simulated CPU nothing fails
        assert refused or requests.answered_once(number)


CROWDED = Profile(PROFILE.costs[:3], complete=False)  # Up to 4 windows, which need 4 bytes: larger batches had no room.


class Measurements:
    """Gives one profile after the other, and the last one for ever after."""

    def __init__(self, *profiles):
        self.profiles, self.count = profiles, 0

    def __call__(self):
        self.count += 1
        return self.profiles[min(self.count, len(self.profiles)) - 1]


def submit_one_by_one(engine, requests):
    """Submit each request when the one before it is answered."""
    for number, request in enumerate(requests):
        engine.submit(request)
        wait_until(lambda number=number: requests.answers[number])


@pytest.mark.parametrize(("free", "measured", "best"), [(16, 1, 4), (17, 2, 32)])
def test_larger_batches_are_measured_when_four_times_the_best_batchs_memory_is_free(free, measured, best):
    measure, requests = Measurements(CROWDED, PROFILE), Requests([4, 4, 32])
    engine = simulated_engine(SimulatedGpu([free]), measure=measure, reprofile_check_s=0.0)
    submit_one_by_one(engine, requests)
    engine.close()
    assert (measure.count, engine.counters.best) == (measured, best)
    assert all(requests.answered_once(number) for number in range(3))


def test_a_model_that_was_measured_to_the_end_is_not_measured_again():
    measure = Measurements(replace(CROWDED, complete=True))
    engine = simulated_engine(SimulatedGpu([400]), measure=measure, reprofile_check_s=0.0)
    submit_one_by_one(engine, Requests([4, 4]))
    engine.close()
    assert measure.count == 1


def test_free_memory_is_looked_at_only_now_and_then():
    measure = Measurements(CROWDED)
    engine = simulated_engine(SimulatedGpu([400]), measure=measure, reprofile_check_s=600.0)
    submit_one_by_one(engine, Requests([4, 4]))
    engine.close()
    assert measure.count == 1


BROKEN = """
from tests.unit.worker.inference.simulated_gpu import Requests, SimulatedGpu, simulated_engine

class Broken(SimulatedGpu):
    def {method}(self, *_):
        raise {error}

engine = simulated_engine(Broken([40]))
for request in Requests([2, 2], poisoned=[0]):
    engine.submit(request)
engine.close()
"""


@pytest.mark.parametrize(
    ("method", "error", "said"),
    [
        ("check", "RuntimeError('CUDA error: an illegal memory access')", "the GPU does not answer any more"),
        ("free_bytes", "SystemExit('a mistake of ours')", "the engine failed"),
    ],
)
def test_an_engine_that_cannot_go_on_ends_its_process(method, error, said):
    code = BROKEN.format(method=method, error=error)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 70, ended.stderr
    assert f"{said}: this worker ends" in ended.stderr


def test_a_model_is_measured_in_the_thread_that_predicts():
    """cuDNN keeps its plans by thread."""
    threads = []

    class Noting(SimulatedGpu):
        def start(self, batch):
            threads.append(threading.get_ident())
            return super().start(batch)

    def measure():
        threads.append(threading.get_ident())
        return PROFILE

    engine = simulated_engine(Noting([40]), measure=measure)
    for request in Requests([4, 4]):
        engine.submit(request)
    engine.close()
    assert len(threads) >= 2
    assert len({*threads, threading.get_ident()}) == 2


def test_whoever_wants_an_engine_is_told_why_there_is_none():
    before = threading.active_count()

    def measure():
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        simulated_engine(SimulatedGpu([40]), measure=measure)
    wait_until(lambda: threading.active_count() <= before)


def test_a_gpu_gets_regions_as_the_file_has_them_and_a_cpu_gets_windows(model):
    gpu, cpu = simulated_engine(SimulatedGpu([40]), model), Engine.start(model, "cpu", threads=1)
    for engine, native in ((gpu, True), (cpu, False)):
        engine.close()
        assert engine.windowing("full") == replace(model.windowing("full"), native=native)
