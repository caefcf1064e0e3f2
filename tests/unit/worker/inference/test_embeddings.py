"""Embeddings on their way through the engine: behind the probabilities, which they do not change."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.worker.inference.simulated_gpu import (
    MIRROR,
    PROFILE,
    SAMPLES,
    Mirror,
    Requests,
    SimulatedGpu,
    model_of,
)
from worker.inference.batch import make_batch
from worker.inference.batch_runner import BatchRunner
from worker.inference.batch_starter import BatchStarter
from worker.inference.engine import Engine
from worker.inference.executors import CpuExecutor, compute, load_cpu_executor
from worker.inference.requests import WindowRequest
from worker.models import checkpoints
from worker.windowing import FrameCut

LABELS = 50  # Of musicnn.


@pytest.fixture(scope="module")
def off():
    return checkpoints.load_model(checkpoints.find_checkpoint("musicnn"), "cpu")


@pytest.fixture(scope="module")
def on():
    return checkpoints.load_model(checkpoints.find_checkpoint("musicnn"), "cpu", embeddings="auto")


def noise(windows, window, seed):
    return np.random.default_rng(seed).integers(-9000, 9000, (windows, window), dtype=np.int16)


def predict(model, tracks):
    """What an engine says of the windows of each track."""
    engine, answers, done = Engine.start(model, "cpu", threads=2), [None] * len(tracks), threading.Semaphore(0)

    def submit(number, pcm):
        def receive(answer):
            answers[number] = answer.copy()
            done.release()

        engine.submit(WindowRequest(pcm, lambda: None, receive, receive))

    for number, pcm in enumerate(tracks):
        submit(number, pcm)
    for _ in tracks:
        assert done.acquire(timeout=60)
    engine.close()
    return answers


@torch.inference_mode()
def test_probabilities_are_the_same_bytes_with_and_without_embeddings(on, off):
    batch = make_batch([WindowRequest(noise(9, on.window, 0), None, None, None)], copied=True)
    with_embeddings, without = (CpuExecutor(model).start(batch)().numpy() for model in (on, off))
    assert (with_embeddings.shape, without.shape) == ((9, LABELS + 200), (9, LABELS))
    assert with_embeddings.dtype == np.float32
    assert with_embeddings[:, :LABELS].tobytes() == without.tobytes()
    assert (with_embeddings[:, LABELS:] > 0).any()


def test_embeddings_do_not_depend_on_the_company_in_a_batch(on):
    tracks = [noise(1 + seed % 4, on.window, seed) for seed in range(8)] + [noise(20, on.window, 99)]
    for pcm, answer in zip(tracks, predict(on, tracks), strict=True):
        with torch.inference_mode():
            waveforms = torch.from_numpy(pcm).float() / 32_768
            alone = [on.network.forward_with_embedding(window[None])[1][0].numpy() for window in waveforms]
        assert answer.shape == (len(pcm), LABELS + 200)
        assert np.abs(answer[:, LABELS:] - alone).max() < 1e-5 * np.abs(alone).max() + 1e-5


class Embedding(Mirror):
    """Embeddings are the last two samples of each window, squared: those beyond 100 are too large for it."""

    embedding_size = 2
    passes = 0

    def forward_with_embedding(self, waveform):
        self.passes += 1
        squares = (waveform[:, 2:] * 32_768).square()
        return self(waveform), torch.where(squares > 100, torch.inf, squares)


class Forward(Embedding):
    """The same, but it must not be asked for embeddings."""

    def forward_with_embedding(self, waveform):
        raise AssertionError("nobody wants embeddings")


@torch.inference_mode()
def test_without_embeddings_a_network_is_not_asked_for_them():
    found = compute(model_of(Forward()), torch.ones(3, SAMPLES), (), False)
    assert found.shape == (3, 2)


@torch.inference_mode()
def test_all_of_an_answer_is_one_tensor_of_float32_out_of_one_pass():
    network = Embedding()
    found = compute(model_of(network, embedding_size=2), torch.ones(3, SAMPLES, dtype=torch.bfloat16), (), False)
    assert (found.shape, found.dtype, network.passes) == ((3, 4), torch.float32, 1)


class Peaks(Embedding):
    """It cuts by frames, and knows the greatest power."""

    def forward_with_embedding(self, waveform, lengths, peaks):
        return torch.stack([lengths, peaks], 1), waveform[:, 2:]

    def peak(self, waveform, lengths):
        return lengths * 2


@torch.inference_mode()
def test_a_network_that_cuts_by_frames_gets_them_and_peaks_have_no_embeddings():
    model = model_of(Peaks(), embedding_size=2, hop=2)
    pcm, cut = np.full((1, SAMPLES), 16_384, np.int16), FrameCut(7)._replace(peak=0.25)
    request = WindowRequest(pcm, None, None, None, cut=cut)
    executor = CpuExecutor(model)
    found = executor.start(make_batch([request], copied=True))()
    assert found.tolist() == [[7, 0.25, 0.5, 0.5]]
    assert executor.start(make_batch([replace(request, wants_peak=True)], copied=True))().tolist() == [14]


def run_on_simulated_gpu(requests, network, cpu):
    """Answer the requests as one batch of a GPU that computes in float16, beside a CPU. Returns their answers."""
    model = model_of(network, embedding_size=2, dtype="float16")
    gpu = SimulatedGpu([40], model)
    starter = BatchStarter(gpu, lambda: cpu)
    starter.apply_profile(PROFILE)
    runner = BatchRunner(model, gpu, starter)
    runner.finish(runner.start(list(requests)))
    return [answer for (answer,) in requests.answers]


def test_an_embedding_that_is_too_large_for_amp_does_not_send_its_window_to_the_cpu():
    requests = Requests([2, 1])
    requests.pcm[0][1] = 11
    first, second = run_on_simulated_gpu(requests, Embedding(), cpu=None)
    assert first.tolist() == [[0, 0, 0, 0], [11, 11, np.inf, np.inf]]
    assert second.tolist() == [[1, 1, 1, 1]]


class Shallow(Embedding):
    """Probabilities beyond 10 are too large for it."""

    def forward(self, waveform):
        found = super().forward(waveform)
        return torch.where(found > 10, torch.inf, found)


def test_a_window_whose_probabilities_are_too_large_for_amp_gets_its_embedding_from_the_cpu_too():
    requests = Requests([2])
    requests.pcm[0][1] = [700, 2, 3, 4]
    cpu = CpuExecutor(model_of(Embedding(), embedding_size=2))
    (answer,) = run_on_simulated_gpu(requests, Shallow(), cpu)
    assert answer.tolist() == [[0, 0, 0, 0], [700, 2, 9, 16]]


@torch.inference_mode()
def test_the_cpu_beside_a_gpu_gives_embeddings_when_the_gpu_does(on, off):
    batch = make_batch([WindowRequest(noise(1, on.window, 0), None, None, None)], copied=True)
    assert load_cpu_executor(on).start(batch)().shape == (1, LABELS + 200)
    assert load_cpu_executor(off).start(batch)().shape == (1, LABELS)


def test_a_model_without_embeddings_answers_as_ever():
    requests = Requests([2, 3])
    gpu = SimulatedGpu([40])
    starter = BatchStarter(gpu, lambda: CpuExecutor(MIRROR))
    starter.apply_profile(PROFILE)
    runner = BatchRunner(MIRROR, gpu, starter)
    runner.finish(runner.start(list(requests)))
    assert requests.answered_once(0)
    assert requests.answered_once(1)
