"""The engine owns one device: windows in, probabilities out. Windows of many tracks and jobs share a batch.

On a CPU every thread takes the windows of a batch from the queue, predicts them and answers. On a GPU one thread takes
windows and starts their batches, and another waits for these and answers:

    submit() -> RequestQueue -> _submit_loop: BatchRunner.start() -> in flight -> _collect: BatchRunner.finish()
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import torch

from worker.exit_codes import BROKEN_EXIT_CODE
from worker.inference import profiler
from worker.inference.batch_runner import BatchRunner, DeviceLostError, InFlightBatch
from worker.inference.batch_size import BatchCost, Counters, Profile
from worker.inference.batch_starter import BatchStarter
from worker.inference.executors import CpuExecutor, Executor, GpuExecutor, load_cpu_executor
from worker.inference.requests import RequestQueue, WindowRequest
from worker.models.checkpoints import Model
from worker.windowing import Windowing

CPU_BATCH = 9  # Windows in a batch on a CPU: small batches stay in its caches.
CPU_PROFILE = Profile((BatchCost(CPU_BATCH, seconds=1.0, peak_bytes=0),))
GATHER_S = 0.08  # Seconds that windows wait on a GPU for others, as long as these are on their way.
REPROFILE_CHECK_S = 60.0  # Seconds between checks whether enough VRAM became free to measure larger batches.
REPROFILE_ROOM = 4  # Larger batches are measured when so many times the memory of the best batch so far is free.
MARGIN_BYTES = 256 << 20  # VRAM that is left free for others.

log = logging.getLogger(__name__)


def _nothing_expected() -> bool:
    return False


class Engine:
    """Predicts on one device. Engine.start() makes it of the real parts.

    executor: the device. measure: says what batches cost on it. On a GPU it is called in the thread that predicts.
    threads: that predict on a CPU. On a GPU it has no meaning.
    expecting: says whether more windows are on their way, for which those that are here should wait.
    load_cpu_executor: makes what predicts windows on the CPU where the GPU cannot.
    gather_s: seconds that windows wait at most. reprofile_check_s: see REPROFILE_CHECK_S.
    """

    def __init__(
        self,
        model: Model,
        device: str,
        executor: Executor,
        measure: Callable[[], Profile],
        *,
        threads: int = 1,
        expecting: Callable[[], bool] = _nothing_expected,
        load_cpu_executor: Callable[[Model], Executor] = load_cpu_executor,
        gather_s: float = 0.0,
        reprofile_check_s: float = REPROFILE_CHECK_S,
    ) -> None:
        self.model, self.device = model, torch.device(device)
        self._executor, self._measure, self._gather_s = executor, measure, gather_s
        self._reprofile_check_s, self._reprofile_at = reprofile_check_s, time.monotonic() + reprofile_check_s
        self._starter = BatchStarter(executor, partial(load_cpu_executor, model))
        self._runner = BatchRunner(model, executor, self._starter)
        self._requests = RequestQueue(executor.empty_cache, expecting)
        self._in_flight: SimpleQueue[InFlightBatch | None] = SimpleQueue()
        self._threads = self._start_on_cpu(threads) if self.device.type == "cpu" else self._start_on_gpu()

    @classmethod
    def start(
        cls,
        model: Model,
        device: str,
        threads: int,
        *,
        profiles: Path | None = None,
        margin_bytes: int = MARGIN_BYTES,
        expecting: Callable[[], bool] = _nothing_expected,
    ) -> "Engine":
        """An engine on a real device: "cpu", or a GPU, which is measured first unless `profiles` has its profile.

        profiles: the folder that keeps what models cost on a GPU. margin_bytes: VRAM that is left free.
        threads, expecting: see Engine. Raises a RuntimeError for which is_out_of_memory() is true when the model does
        not fit.
        """
        if torch.device(device).type == "cpu":
            return cls(model, device, CpuExecutor(model), lambda: CPU_PROFILE, threads=threads, expecting=expecting)
        gpu = GpuExecutor(model, torch.device(device), margin_bytes)
        measure = partial(profiler.profile, model, gpu, profiles)
        return cls(model, device, gpu, measure, expecting=expecting, gather_s=GATHER_S)

    @property
    def counters(self) -> Counters:
        """What the engine has done so far, and how large its batches are."""
        return self._starter.counters

    def windowing(self, coverage: str) -> Windowing:
        """What is to be read of a track. A GPU resamples by itself."""
        return replace(self.model.windowing(coverage), native=self.device.type != "cpu")

    def submit(self, request: WindowRequest) -> None:
        """Queue windows. The engine's threads call the request's callbacks. Raises RuntimeError after close()."""
        self._requests.put(request)

    def close(self) -> None:
        """Predict what was submitted, then stop."""
        self._requests.close()
        for thread in self._threads:
            thread.join()

    def _start_on_cpu(self, threads: int) -> list[threading.Thread]:
        self._apply_profile(self._measure())
        return [_start_thread(f"engine-{number}", self._predict_loop) for number in range(threads)]

    def _start_on_gpu(self) -> list[threading.Thread]:
        """Returns when the model is measured. Raises what went wrong with that."""
        ready: Future[None] = Future()
        submitting = _start_thread("engine-0", partial(self._submit_loop, ready))
        collecting = _start_thread("engine-1", self._collect)
        ready.result()
        return [submitting, collecting]

    def _apply_profile(self, profile: Profile) -> None:
        self._starter.apply_profile(profile)
        self._max_windows = profile.best_batch

    def _predict_loop(self) -> None:
        """On a CPU: predict one batch after the other."""
        while requests := self._requests.take(self._max_windows, self._gather_s):
            self._runner.finish(self._runner.start(requests))

    def _submit_loop(self, ready: Future[None]) -> None:
        """On a GPU: measure the model, then start one batch after the other.

        One thread does both: cuDNN keeps its plans by thread, and making one takes tens of milliseconds.
        """
        try:
            self._apply_profile(self._measure())
        except BaseException as error:
            ready.set_exception(error)
        else:
            ready.set_result(None)
            while requests := self._requests.take(self._max_windows, self._gather_s):
                self._in_flight.put(self._runner.start(requests))
                self._reprofile_if_free()
        self._in_flight.put(None)

    @torch.inference_mode()
    def _reprofile_if_free(self) -> None:
        """Measure the model again when others have left the GPU, whose memory had ended before larger batches were no
        faster."""
        profile, now = self._starter.profile, time.monotonic()
        if profile.complete or now < self._reprofile_at:
            return
        self._reprofile_at = now + self._reprofile_check_s
        if self._executor.free_bytes() > REPROFILE_ROOM * profile.peak_bytes(profile.best_batch):
            self._apply_profile(self._measure())

    def _collect(self) -> None:
        """On a GPU: wait for one batch after the other, and answer its requests."""
        while in_flight := self._in_flight.get():
            self._runner.finish(in_flight)


def _start_thread(name: str, work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=_exit_on_crash, args=(work,), name=name, daemon=True)
    thread.start()
    return thread


def _exit_on_crash(work: Callable[[], None]) -> None:
    """Do the work of one of the engine's threads. When it fails, nothing would ever be predicted again: then the
    process ends."""
    try:
        work()
    except DeviceLostError as error:
        _exit_process(str(error))
    except BaseException:
        _exit_process("the engine failed")


def _exit_process(reason: str) -> None:
    """End this process at once. Whoever started it starts another, which does again what this one has not stored."""
    log.critical("%s: this worker ends", reason, exc_info=True)
    logging.shutdown()
    os._exit(BROKEN_EXIT_CODE)
