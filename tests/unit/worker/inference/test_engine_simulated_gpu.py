"""The engine on a simulated GPU: memory ends at random, and every window is predicted once all the same."""

import subprocess
import sys
import threading
from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import wait_until
from worker.errors import UnclassifiableError
from worker.inference.batch_size import SIZES, BatchCost, Profile, size_for
from worker.inference.engine import Engine
from worker.inference.executors import CpuExecutor
from worker.inference.requests import WindowRequest
from worker.models.checkpoints import Checkpoint, Model

SAMPLES = 4
POISON = 32_000  # windows of it break the batch they are in, when its results are read
PROFILE = Profile(tuple(BatchCost(size, 0.01 + size * 1e-3, size) for size in SIZES[:7]))  # a byte a window


class Mirror(torch.nn.Module):
    """Gives the first two samples of each window back."""

    def forward(self, waveform):
        return waveform[:, :2] * 32_768


class SimulatedGpu(CpuExecutor):
    """A GPU on which what is free changes at every look, and may be less at the next."""

    reads_in_place = True

    def __init__(self, model, free):
        super().__init__(model)
        self._free, self._looks = free, 0
        self._lock = threading.Lock()

    def free_bytes(self):
        with self._lock:
            self._looks += 1
            return self._free[self._looks % len(self._free)]

    def start(self, batch):
        if size_for(len(batch)) > self.free_bytes():
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        output = super().start(batch)()

        def wait():
            if any((slice_.needed[:, 0] == POISON).any() for slice_ in batch.slices):
                raise RuntimeError("the kernel did not like it")
            return output

        return wait


class Tracks:
    """Tickets of one window and more each, and what became of them."""

    def __init__(self, sizes, poisoned):
        self.answers: dict[int, list] = {name: [] for name in range(len(sizes))}
        self.pcm = [np.full((size, SAMPLES), name, np.int16) for name, size in enumerate(sizes)]
        for name in poisoned:
            self.pcm[name % len(sizes)][0] = POISON
        self.taken: list[int] = []

    def requests(self):
        for name, pcm in enumerate(self.pcm):
            answer = self.answers[name].append
            yield WindowRequest(pcm, lambda name=name: self.taken.append(name), lambda p, a=answer: a(p.copy()), answer)


MIRROR = Model(Checkpoint("mirror", "1", None, ""), Mirror(), 8, SAMPLES, (), "")


def simulated(free, model=MIRROR, profile=PROFILE):
    """An engine on a simulated GPU, beside a CPU that has MIRROR."""
    with ExitStack() as stack:
        stack.enter_context(
            patch("worker.inference.engine.GpuExecutor", lambda model, device, margin: SimulatedGpu(model, free))
        )
        stack.enter_context(patch("worker.inference.engine.profiler.profile", lambda *_: profile))
        stack.enter_context(patch("worker.inference.engine.GATHER_S", 0.001))
        engine = Engine(model, "cuda:0", threads=1)
    engine._cpu = CpuExecutor(MIRROR)
    return engine


@given(
    sizes=st.lists(st.integers(1, 70), min_size=1, max_size=12),
    free=st.lists(st.integers(0, 40), min_size=1, max_size=8),
    poisoned=st.sets(st.integers(0, 11), max_size=2),
)
@settings(deadline=None, max_examples=60)
def test_every_window_is_predicted_once_and_only_what_fails_by_itself_is_refused(sizes, free, poisoned):
    engine, tracks = simulated(free), Tracks(sizes, poisoned)
    for request in tracks.requests():
        engine.submit(request)
    engine.close()
    assert sorted(tracks.taken) == list(range(len(sizes)))
    for name, pcm in enumerate(tracks.pcm):
        (answer,) = tracks.answers[name]
        refused = pcm[0, 0] == POISON and isinstance(answer, UnclassifiableError)  # on the simulated CPU nothing fails
        assert refused or np.array_equal(answer, pcm[:, :2])


def test_a_ticket_that_breaks_its_batch_is_refused_alone():
    engine, tracks = simulated([40]), Tracks([3, 2, 4], (1,))
    for request in tracks.requests():
        engine.submit(request)
    engine.close()
    assert [type(answers[0]).__name__ for answers in tracks.answers.values()] == [
        "ndarray",
        "UnclassifiableError",
        "ndarray",
    ]


class Shallow(Mirror):
    """Numbers beyond 100 are too large for it."""

    def forward(self, waveform):
        found = super().forward(waveform)
        return torch.where(found > 100, torch.inf, found)


def test_what_is_too_large_for_amp_is_predicted_in_float32():
    lowered = Model(Checkpoint("mirror", "1", None, ""), Shallow(), 8, SAMPLES, (), "", dtype="float16")
    engine, tracks = simulated([40], lowered), Tracks([2, 3], ())
    tracks.pcm[1][1] = 700
    for request in tracks.requests():
        engine.submit(request)
    engine.close()
    assert all(np.array_equal(tracks.answers[name][0], pcm[:, :2]) for name, pcm in enumerate(tracks.pcm))
    assert engine.counters.on_cpu == 0


class Odd(Mirror):
    """A model of the user's own that does not raise RuntimeError."""

    def forward(self, waveform):
        if waveform[:, 0].max() * 32_768 > 100:
            raise KeyError("too loud")
        return super().forward(waveform)


def test_whatever_a_model_raises_costs_only_the_ticket_it_is_raised_for():
    engine, tracks = (
        simulated([40], Model(Checkpoint("odd", "1", None, ""), Odd(), 8, SAMPLES, (), "")),
        Tracks([2, 3], ()),
    )
    tracks.pcm[0][0] = 700
    for request in tracks.requests():
        engine.submit(request)
    engine.close()
    assert isinstance(tracks.answers[0][0], UnclassifiableError)
    assert "too loud" in str(tracks.answers[0][0])
    assert np.array_equal(tracks.answers[1][0], tracks.pcm[1][:, :2])


CROWDED = Profile(PROFILE.costs[:3], complete=False)


def test_when_others_have_left_the_card_larger_batches_are_tried():
    engine, tracks = simulated([400], profile=CROWDED), Tracks([4, 4, 32], ())
    engine._again_at = 0
    first, *others = tracks.requests()
    with patch("worker.inference.engine.profiler.profile", lambda *_: PROFILE):
        engine.submit(first)
        wait_until(lambda: engine.counters.best == PROFILE.best)
    for request in others:
        engine.submit(request)
    engine.close()
    assert all(np.array_equal(tracks.answers[name][0], pcm[:, :2]) for name, pcm in enumerate(tracks.pcm))


def test_while_the_card_is_crowded_nothing_is_tried_again():
    engine, tracks = simulated([5], profile=CROWDED), Tracks([4, 4], ())
    engine._again_at = 0
    for request in tracks.requests():
        engine.submit(request)
    engine.close()
    assert engine._again_at > 0
    assert engine._sizer.profile is CROWDED


def test_without_room_for_a_window_the_cpu_takes_it_and_it_is_counted():
    engine, tracks = simulated([0]), Tracks([3, 2], ())
    for request in tracks.requests():
        engine.submit(request)
    engine.close()
    assert engine.counters.on_cpu == engine.counters.windows == 5
    assert all(np.array_equal(tracks.answers[name][0], pcm[:, :2]) for name, pcm in enumerate(tracks.pcm))


def test_memory_that_ends_between_the_look_and_the_batch_is_counted_and_the_limit_follows():
    engine, tracks = simulated([5, 32]), Tracks([32], ())  # looks alternate: 32 are seen, 5 are there
    for request in tracks.requests():
        engine.submit(request)
    engine.close()
    assert engine.counters.out_of_memory > 0
    assert engine.counters.on_cpu == 0
    assert engine.counters.limit < engine.counters.best == 32
    assert np.array_equal(tracks.answers[0][0], tracks.pcm[0][:, :2])


BROKEN = """
from tests.unit.worker.inference.test_engine_simulated_gpu import SimulatedGpu, Tracks, simulated
def broken(*_):
    raise {error}
SimulatedGpu.{method} = broken
engine = simulated([40])
for ticket in Tracks([2, 2], (0,)).requests():
    engine.submit(ticket)
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
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 70, ended.stderr
    assert f"{said}: this worker ends" in ended.stderr


def test_the_limit_that_is_shown_is_what_fits_now():
    engine, tracks = simulated([9]), Tracks([4], ())
    for request in tracks.requests():
        engine.submit(request)
    engine.close()
    assert engine.counters.limit == engine._sizer.profile.fitting(9) < engine.counters.best
    assert engine.counters.out_of_memory == 0


class Noting(SimulatedGpu):
    def __init__(self, model, note):
        super().__init__(model, [40])
        self.note = note

    def start(self, batch):
        self.note()
        return super().start(batch)


def test_a_model_is_measured_in_the_thread_that_predicts():
    """cuDNN keeps its plans by thread."""
    threads = []

    def note(*_):
        threads.append(threading.get_ident())
        return PROFILE

    with (
        patch("worker.inference.engine.profiler.profile", note),
        patch("worker.inference.engine.GpuExecutor", lambda model, *_: Noting(model, note)),
    ):
        engine = Engine(MIRROR, "cuda:0", threads=1)
    for request in Tracks([4, 4], ()).requests():
        engine.submit(request)
    engine.close()
    assert len(threads) >= 2
    assert len({*threads, threading.get_ident()}) == 2


def test_whoever_wants_an_engine_is_told_why_there_is_none():
    before = threading.active_count()
    with (
        patch("worker.inference.engine.GpuExecutor", lambda model, *_: SimulatedGpu(model, [40])),
        patch("worker.inference.engine.profiler.profile", side_effect=RuntimeError("CUDA out of memory")),
        pytest.raises(RuntimeError, match="out of memory"),
    ):
        Engine(MIRROR, "cuda:0", threads=1)
    wait_until(lambda: threading.active_count() <= before)
