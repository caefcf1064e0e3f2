"""Batches that are started on a simulated GPU whose memory ends."""

import pytest
import torch

from tests.unit.worker.inference.simulated_gpu import MIRROR, PROFILE, Requests, SimulatedGpu
from worker.inference.batch import make_batch
from worker.inference.batch_starter import BatchStarter
from worker.inference.executors import CpuExecutor


def make_starter(free, load_cpu_executor=lambda: CpuExecutor(MIRROR)):
    """On a GPU that has so many bytes free at each look, over and over. A window needs a byte."""
    starter = BatchStarter(SimulatedGpu(free), load_cpu_executor)
    starter.apply_profile(PROFILE)
    return starter


def predict(starter, windows):
    """The number of each window, as the results of a batch have it: windows of a request have the request's number."""
    batch = make_batch(list(Requests([1] * windows)), copied=False)
    return torch.cat([wait() for wait in starter.start(batch)])[:, 0].tolist()


def test_a_batch_that_fits_is_started_as_a_whole():
    starter = make_starter([40])
    assert predict(starter, 20) == list(range(20))
    counters = starter.counters
    assert (counters.windows, counters.batches, counters.batch) == (20, 1, 20)
    assert (counters.limit, counters.best, counters.out_of_memory, counters.on_cpu) == (32, 32, 0, 0)


def test_a_batch_that_does_not_fit_runs_in_parts_and_the_limit_that_is_shown_is_what_fits_now():
    starter = make_starter([9])
    assert predict(starter, 20) == list(range(20))
    counters = starter.counters
    assert (counters.windows, counters.batches, counters.batch) == (20, 3, 4)  # 8, 8 and 4 windows
    assert (counters.limit, counters.best, counters.out_of_memory, counters.on_cpu) == (8, 32, 0, 0)


def test_without_room_for_a_window_the_cpu_takes_it_and_it_is_counted():
    loaded = []

    def load():
        loaded.append(CpuExecutor(MIRROR))
        return loaded[-1]

    starter = make_starter([0], load)
    assert predict(starter, 5) == list(range(5))
    counters = starter.counters
    assert counters.on_cpu == counters.windows == counters.batches == 5
    assert (counters.batch, counters.limit, counters.out_of_memory) == (0, 0, 0)
    assert len(loaded) == 1


def test_windows_that_are_only_repaired_on_the_cpu_are_not_counted():
    starter = make_starter([40])
    batch = make_batch(list(Requests([1])), copied=False)
    assert starter.run_on_cpu(batch)().tolist() == [[0, 0]]
    assert starter.counters.on_cpu == starter.counters.windows == 0


def test_memory_that_ends_between_the_look_and_the_batch_is_counted_and_the_limit_follows(caplog):
    starter = make_starter([5, 32])  # looks alternate: 32 bytes are seen, 5 are there
    assert predict(starter, 32) == list(range(32))
    counters = starter.counters
    assert (counters.out_of_memory, counters.on_cpu, counters.windows) == (4, 0, 32)  # 32, 16, 8, and 8 again
    assert counters.limit == 4 < counters.best == 32
    assert "no room for 32 windows, trying half of them: CUDA out of memory" in caplog.text


def test_after_memory_ended_the_gpus_cache_is_emptied():
    class Gpu(SimulatedGpu):
        emptied = 0

        def empty_cache(self):
            self.emptied += 1

    gpu = Gpu([5, 32])
    starter = BatchStarter(gpu, lambda: CpuExecutor(MIRROR))
    starter.apply_profile(PROFILE)
    predict(starter, 32)
    assert gpu.emptied == starter.counters.out_of_memory


def test_an_error_that_is_not_for_lack_of_memory_is_raised():
    class Gpu(SimulatedGpu):
        def start(self, batch):
            raise RuntimeError("the kernel did not like it")

    starter = BatchStarter(Gpu([40]), lambda: CpuExecutor(MIRROR))
    with pytest.raises(RuntimeError, match="did not like"):
        predict(starter, 1)
    assert starter.counters.windows == 0
