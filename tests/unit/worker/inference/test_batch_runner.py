"""Batches of requests on a simulated GPU: each request gets its own answer, whatever happens to the batch."""

import numpy as np
import pytest
import torch

from tests.unit.worker.inference.simulated_gpu import MIRROR, PROFILE, Mirror, Requests, SimulatedGpu, model_of
from worker.inference.batch_runner import BatchRunner, DeviceLostError
from worker.inference.batch_starter import BatchStarter
from worker.inference.executors import CpuExecutor


def make_runner(gpu, model=MIRROR, cpu=None):
    """A runner on a simulated GPU, beside a CPU that predicts as MIRROR does."""
    starter = BatchStarter(gpu, lambda: cpu or CpuExecutor(MIRROR))
    starter.apply_profile(PROFILE)
    return BatchRunner(model, gpu, starter)


def run(runner, requests):
    """Run the requests as one batch, and return them."""
    runner.finish(runner.start(list(requests)))
    return requests


def test_a_request_that_breaks_its_batch_is_refused_alone():
    requests = run(make_runner(SimulatedGpu([40])), Requests([3, 2, 4], poisoned=[1]))
    assert requests.answered_once(0)
    assert requests.refused_once(1)
    assert requests.answered_once(2)


def test_a_request_that_breaks_a_batch_by_itself_is_not_tried_again():
    class Counting(SimulatedGpu):
        starts = 0

        def start(self, batch):
            self.starts += 1
            return super().start(batch)

    gpu = Counting([40])
    requests = run(make_runner(gpu), Requests([3], poisoned=[0]))
    assert requests.refused_once(0)
    assert "the model mirror failed on it: the kernel did not like it" in str(requests.answers[0][0])
    assert gpu.starts == 1


class Shallow(Mirror):
    """Numbers beyond 100 are too large for it."""

    def forward(self, waveform):
        found = super().forward(waveform)
        return torch.where(found > 100, torch.inf, found)


class CountingCpu(CpuExecutor):
    """Notes the windows of each batch."""

    def __init__(self):
        super().__init__(MIRROR)
        self.sizes = []

    def start(self, batch):
        self.sizes.append(len(batch))
        return super().start(batch)


def test_what_is_too_large_for_amp_is_predicted_in_float32_window_by_window():
    lowered, cpu = model_of(Shallow(), dtype="float16"), CountingCpu()
    requests = Requests([2, 3, 1])
    requests.pcm[1][1] = 700
    requests.pcm[2][0] = 800
    run(make_runner(SimulatedGpu([40], lowered), lowered, cpu), requests)
    assert all(requests.answered_once(number) for number in range(3))
    assert cpu.sizes == [1, 1]


def test_what_is_too_large_for_float32_stays_so():
    shallow, cpu = model_of(Shallow()), CountingCpu()
    requests = Requests([1])
    requests.pcm[0][0] = 700
    run(make_runner(SimulatedGpu([40], shallow), shallow, cpu), requests)
    assert np.isinf(requests.answers[0][0]).all()
    assert cpu.sizes == []


class Odd(Mirror):
    """A model of the user's own that does not raise RuntimeError."""

    def forward(self, waveform):
        if waveform[:, 0].max() * 32_768 > 100:
            raise KeyError("too loud")
        return super().forward(waveform)


def test_whatever_a_model_raises_costs_only_the_request_it_is_raised_for():
    odd, requests = model_of(Odd()), Requests([2, 3])
    requests.pcm[0][0] = 700
    run(make_runner(SimulatedGpu([40], odd), odd), requests)
    assert requests.refused_once(0)
    assert "too loud" in str(requests.answers[0][0])
    assert requests.answered_once(1)


def test_memory_is_released_before_the_answers_are_given_and_after_they_are_there():
    events = []

    class Noting(SimulatedGpu):
        def start(self, batch):
            result = super().start(batch)
            return lambda: events.append("waited") or result()

    requests = Requests([1])
    requests.copied, requests.answers = events, [events]
    run(make_runner(Noting([40])), requests)
    assert events[:2] == ["waited", 0]
    assert len(events) == 3


def test_an_executor_that_copies_releases_memory_before_it_computes():
    runner, requests = make_runner(CpuExecutor(MIRROR)), Requests([2, 1])
    in_flight = runner.start(list(requests))
    assert requests.copied == [0, 1]
    for pcm in requests.pcm:
        pcm += 50
    runner.finish(in_flight)
    assert [answers[0][0, 0] for answers in requests.answers] == [0, 1]
    assert requests.copied == [0, 1]


@pytest.mark.parametrize("sizes", [[2], [2, 3]])
def test_a_device_that_does_not_answer_any_more_is_an_error_of_its_own(sizes):
    class Lost(SimulatedGpu):
        def check(self):
            raise RuntimeError("CUDA error: an illegal memory access")

    requests = Requests(sizes, poisoned=[0])
    with pytest.raises(DeviceLostError) as raised:
        run(make_runner(Lost([40])), requests)
    assert "illegal memory access" in str(raised.value.__cause__)
    assert not any(requests.answers)
