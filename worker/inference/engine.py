"""The engine owns one device: windows in, probabilities out. Windows of many tracks and jobs share a batch."""

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import torch
from torch import Tensor

from worker.errors import UnclassifiableError
from worker.exit_codes import BROKEN_EXIT_CODE
from worker.inference import profiler
from worker.inference.batch import Batch, make_batch
from worker.inference.batch_size import BatchCost, BatchSizer, Counters, Profile
from worker.inference.executors import CpuExecutor, GpuExecutor, Result, is_out_of_memory
from worker.inference.requests import RequestQueue, WindowRequest
from worker.models import checkpoints
from worker.models.checkpoints import Model
from worker.windowing import Windowing

CPU_BATCH = 9  # windows; on a CPU small batches stay in its caches
GATHER_S = 0.08  # that windows wait for company on a GPU, while files wait for a decode child
AGAIN_S = 60.0  # between two looks whether there is room now for batches that could not be tried
ROOMY = 4  # times what the best batch needs: room
MARGIN_BYTES = 256 << 20  # of VRAM that is left free

log = logging.getLogger(__name__)


@dataclass
class InFlightBatch:
    """Tickets whose batch was started."""

    requests: list[WindowRequest]
    batch: Batch
    results: list[Result]
    error: Exception | None = None


class Engine:
    """Predicts on one device. On a CPU `threads` threads each take a batch and predict it, each single-threaded; on a GPU
    one thread starts batches, and another waits for them.

    profiles: the folder that keeps what models cost on a GPU. margin_bytes: VRAM that is left free. expecting: whether
    windows are on their way that those which are here should wait for.
    """

    def __init__(
        self,
        model: Model,
        device: str,
        threads: int,
        *,
        profiles: Path | None = None,
        margin_bytes: int = MARGIN_BYTES,
        expecting: Callable[[], bool] = lambda: False,
    ):
        self.model, self.device = model, torch.device(device)
        self._cpu: CpuExecutor | None = None
        self._profiles, self._again_at = profiles, time.monotonic() + AGAIN_S
        self.counters, self._counting = Counters(), threading.Lock()
        self._in_flight: SimpleQueue[InFlightBatch | None] = SimpleQueue()
        ready: Future[None] = Future()
        if self.device.type == "cpu":
            self._executor, work = CpuExecutor(model), [self._predict] * threads
            self._apply_profile(Profile((BatchCost(CPU_BATCH, 1.0, 0),)))
            ready.set_result(None)
        else:
            self._executor, work = (
                GpuExecutor(model, self.device, margin_bytes),
                [partial(self._submit_loop, ready), self._collect],
            )
        self._requests = RequestQueue(self._executor.empty_cache, expecting)
        self._threads = [
            threading.Thread(target=_exit_on_crash, args=(part,), name=f"engine-{i}", daemon=True)
            for i, part in enumerate(work)
        ]
        for thread in self._threads:
            thread.start()
        ready.result()

    def _apply_profile(self, profile: Profile) -> None:
        self._sizer, self._most = BatchSizer(profile), profile.best
        self.counters.limit = self.counters.best = profile.best

    def windowing(self, coverage: str) -> Windowing:
        """What is to be read of a track: a GPU resamples by itself."""
        return replace(self.model.windowing(coverage), native=self.device.type != "cpu")

    def submit(self, request: WindowRequest) -> None:
        """Queue windows. `on_copied` and then `on_result` or `on_error` are called from an engine thread."""
        self._requests.put(request)

    def close(self) -> None:
        """Predict what was submitted, then stop."""
        self._requests.close()
        for thread in self._threads:
            thread.join()

    def _predict(self) -> None:
        while requests := self._requests.take(self._most):
            self._finish(self._start(requests))

    def _submit_loop(self, ready: Future[None]) -> None:
        """Measure and predict in one thread: cuDNN keeps its plans by thread, and making one takes tens of
        milliseconds."""
        try:
            self._apply_profile(profiler.profile(self.model, self._executor, self._profiles))
        except BaseException as error:
            ready.set_exception(error)
        else:
            ready.set_result(None)
            while requests := self._requests.take(self._most, GATHER_S):
                self._in_flight.put(self._start(requests))
                self._reprofile_if_free()
        self._in_flight.put(None)

    @torch.inference_mode()
    def _reprofile_if_free(self) -> None:
        """Measure again when others have left the card on which larger batches could not be tried."""
        profile, moment = self._sizer.profile, time.monotonic()
        if profile.complete or moment < self._again_at:
            return
        self._again_at = moment + AGAIN_S
        if self._executor.free_bytes() > ROOMY * profile.peak_bytes(profile.best):
            self._apply_profile(profiler.profile(self.model, self._executor, self._profiles))

    def _collect(self) -> None:
        while in_flight := self._in_flight.get():
            self._finish(in_flight)

    @torch.inference_mode()
    def _start(self, requests: list[WindowRequest]) -> InFlightBatch:
        requests = sorted(requests, key=attrgetter("layout_key"))
        batch = make_batch(requests, by_frames=bool(self.model.hop), copied=not self._executor.reads_in_place)
        if not self._executor.reads_in_place:
            _give_back(requests)
        in_flight = InFlightBatch(requests, batch, [])
        try:
            in_flight.results = self._run(batch)
        except Exception as error:  # whatever a model of the user's own raises
            in_flight.error = error
        return in_flight

    def _run(self, batch: Batch) -> list[Result]:
        """Start the batch, in as many parts as fit one after the other."""
        results, at = [], 0
        while at < len(batch):
            fits = self._sizer.size(self._executor.free_bytes())
            size = min(fits, len(batch) - at)
            try:
                results.append(
                    self._executor.start(batch.part(at, at + size))
                    if size
                    else self._run_on_cpu(batch.part(at, at + 1))
                )
            except RuntimeError as error:
                if not size or not is_out_of_memory(error):
                    raise
                self._shrink(size, error)
                continue
            self._sizer.went_well(size) if size else self._sizer.went_to_cpu()
            at += size or 1
            self._count(size, fits)
        return results

    def _shrink(self, size: int, error: RuntimeError) -> None:
        log.warning("no room for %d windows, trying half of them: %s", size, str(error).partition("\n")[0])
        self._executor.empty_cache()
        self._sizer.out_of_memory(size)
        self.counters.out_of_memory += 1

    def _run_on_cpu(self, batch: Batch) -> Result:
        """On the CPU: where the GPU has no room for a single window, or AMP's numbers are too small for it."""
        if self._cpu is None:
            log.warning("some windows go to the CPU, which takes far longer")
            self._cpu = CpuExecutor(checkpoints.load_model(self.model.checkpoint, "cpu"))
        return self._cpu.start(batch)

    def _count(self, size: int, fits: int) -> None:
        with self._counting:
            counters = self.counters
            counters.windows += size or 1
            counters.on_cpu += not size
            counters.batches += 1
            counters.batch, counters.limit = size, fits

    @torch.inference_mode()
    def _finish(self, in_flight: InFlightBatch) -> None:
        try:
            if in_flight.error is not None:
                raise in_flight.error
            results = self._repaired(_together(in_flight.results), in_flight.batch)
        except Exception as error:
            self._retry_individually(in_flight, error)
            results = None
        if self._executor.reads_in_place:
            _give_back(in_flight.requests)
        if results is not None:
            at = 0
            for request in in_flight.requests:
                _call(request.on_result, results[at : at + request.windows])
                at += request.windows

    def _repaired(self, results: np.ndarray, batch: Batch) -> np.ndarray:
        """The results; what was too large for the numbers of AMP is predicted once more, on the CPU in float32."""
        if self.model.dtype == "float32" or np.isfinite(results).all():
            return results
        (lost,) = np.nonzero(~np.isfinite(results.reshape(len(results), -1)).all(1))
        log.warning("%d windows are too much for %s, and go to the CPU: see GENREMILL_AMP", len(lost), self.model.dtype)
        for at in lost.tolist():
            results[at] = self._run_on_cpu(batch.part(at, at + 1))()[0].numpy()
        return results

    def _retry_individually(self, in_flight: InFlightBatch, error: Exception) -> None:
        """A batch failed: each ticket once more, by itself, so that only that is refused which fails by itself."""
        self._check()
        at = 0
        for request in in_flight.requests:
            part, at = in_flight.batch.part(at, at + request.windows), at + request.windows
            try:
                if len(in_flight.requests) == 1:
                    raise error
                results = self._repaired(_together(self._run(part)), part)
            except Exception as own:
                log.error("a batch of %d windows failed", len(part), exc_info=own)
                self._check()
                _call(
                    request.on_error, UnclassifiableError(f"the model {self.model.checkpoint.name} failed on it: {own}")
                )
            else:
                _call(request.on_result, results)

    def _check(self) -> None:
        """End the process when its GPU does not answer any more."""
        try:
            self._executor.check()
        except RuntimeError:
            _exit_process("the GPU does not answer any more")


def _exit_on_crash(part: Callable[[], None]) -> None:
    """A thread of the engine, without which nothing would ever be predicted again."""
    try:
        part()
    except BaseException:
        _exit_process("the engine failed")


def _exit_process(reason: str) -> None:
    """Whoever started this process starts another, which does again what this one has not stored."""
    log.critical("%s: this worker ends", reason, exc_info=True)
    logging.shutdown()
    os._exit(BROKEN_EXIT_CODE)


def _together(results: list[Result]) -> np.ndarray:
    """All of a batch: float32 (windows, labels) or (windows,)."""
    outputs: list[Tensor] = [result() for result in results]
    return torch.cat(outputs).numpy() if len(outputs) > 1 else outputs[0].numpy()


def _give_back(requests: list[WindowRequest]) -> None:
    for request in requests:
        _call(request.on_copied)


def _call(callback: Callable, *arguments) -> None:
    try:
        callback(*arguments)
    except Exception:
        log.exception("a callback of the engine failed")
