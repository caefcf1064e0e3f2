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

from worker.errors import Unclassifiable
from worker.exit_codes import BROKEN_EXIT_CODE
from worker.inference import profiler
from worker.inference.batch import Batch, make_batch
from worker.inference.batch_size import Counters, Probe, Profile, Sizer
from worker.inference.executors import Cpu, Gpu, Result, is_out_of_memory
from worker.inference.requests import Ticket, TicketQueue
from worker.models import checkpoints
from worker.models.checkpoints import Model
from worker.windowing import Cut

CPU_BATCH = 9  # windows; on a CPU small batches stay in its caches
GATHER_S = 0.08  # that windows wait for company on a GPU, while files wait for a decode child
AGAIN_S = 60.0  # between two looks whether there is room now for batches that could not be tried
ROOMY = 4  # times what the best batch needs: room
MARGIN_BYTES = 256 << 20  # of VRAM that is left free

log = logging.getLogger(__name__)


@dataclass
class Flight:
    """Tickets whose batch was started."""

    tickets: list[Ticket]
    batch: Batch
    results: list[Result]
    error: Exception | None = None


class Engine:
    """Predicts on one device. On a CPU `lanes` threads each take a batch and predict it, each single-threaded; on a GPU
    one thread starts batches, and another waits for them.

    profiles: the folder that keeps what models cost on a GPU. margin_bytes: VRAM that is left free. expecting: whether
    windows are on their way that those which are here should wait for.
    """

    def __init__(
        self,
        model: Model,
        device: str,
        lanes: int,
        *,
        profiles: Path | None = None,
        margin_bytes: int = MARGIN_BYTES,
        expecting: Callable[[], bool] = lambda: False,
    ):
        self.model, self.device = model, torch.device(device)
        self._cpu: Cpu | None = None
        self._profiles, self._again_at = profiles, time.monotonic() + AGAIN_S
        self.counters, self._counting = Counters(), threading.Lock()
        self._flights: SimpleQueue[Flight | None] = SimpleQueue()
        ready: Future[None] = Future()
        if self.device.type == "cpu":
            self._on, work = Cpu(model), [self._predict] * lanes
            self._use(Profile((Probe(CPU_BATCH, 1.0, 0),)))
            ready.set_result(None)
        else:
            self._on, work = Gpu(model, self.device, margin_bytes), [partial(self._launch, ready), self._land]
        self._tickets = TicketQueue(self._on.empty_cache, expecting)
        self._threads = [
            threading.Thread(target=_or_end, args=(part,), name=f"engine-{i}", daemon=True)
            for i, part in enumerate(work)
        ]
        for thread in self._threads:
            thread.start()
        ready.result()

    def _use(self, profile: Profile) -> None:
        self._sizer, self._most = Sizer(profile), profile.best
        self.counters.limit = self.counters.best = profile.best

    def cut(self, coverage: str) -> Cut:
        """What is to be read of a track: a GPU resamples by itself."""
        return replace(self.model.cut(coverage), native=self.device.type != "cpu")

    def submit(self, ticket: Ticket) -> None:
        """Queue windows. `taken` and then `scored` or `refused` are called from an engine thread."""
        self._tickets.put(ticket)

    def close(self) -> None:
        """Predict what was submitted, then stop."""
        self._tickets.close()
        for thread in self._threads:
            thread.join()

    def _predict(self) -> None:
        while tickets := self._tickets.take(self._most):
            self._finish(self._start(tickets))

    def _launch(self, ready: Future[None]) -> None:
        """Measure and predict in one thread: cuDNN keeps its plans by thread, and making one takes tens of
        milliseconds."""
        try:
            self._use(profiler.profile(self.model, self._on, self._profiles))
        except BaseException as error:
            ready.set_exception(error)
        else:
            ready.set_result(None)
            while tickets := self._tickets.take(self._most, GATHER_S):
                self._flights.put(self._start(tickets))
                self._look_again()
        self._flights.put(None)

    @torch.inference_mode()
    def _look_again(self) -> None:
        """Measure again when others have left the card on which larger batches could not be tried."""
        profile, moment = self._sizer.profile, time.monotonic()
        if profile.complete or moment < self._again_at:
            return
        self._again_at = moment + AGAIN_S
        if self._on.free_bytes() > ROOMY * profile.peak_bytes(profile.best):
            self._use(profiler.profile(self.model, self._on, self._profiles))

    def _land(self) -> None:
        while flight := self._flights.get():
            self._finish(flight)

    @torch.inference_mode()
    def _start(self, tickets: list[Ticket]) -> Flight:
        tickets = sorted(tickets, key=attrgetter("kind"))
        batch = make_batch(tickets, framed=bool(self.model.hop), copied=not self._on.borrows)
        if not self._on.borrows:
            _give_back(tickets)
        flight = Flight(tickets, batch, [])
        try:
            flight.results = self._run(batch)
        except Exception as error:  # whatever a model of the user's own raises
            flight.error = error
        return flight

    def _run(self, batch: Batch) -> list[Result]:
        """Start the batch, in as many parts as fit one after the other."""
        results, at = [], 0
        while at < len(batch):
            fits = self._sizer.size(self._on.free_bytes())
            size = min(fits, len(batch) - at)
            try:
                results.append(
                    self._on.start(batch.part(at, at + size)) if size else self._spare(batch.part(at, at + 1))
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
        self._on.empty_cache()
        self._sizer.out_of_memory(size)
        self.counters.out_of_memory += 1

    def _spare(self, batch: Batch) -> Result:
        """On the CPU: where the GPU has no room for a single window, or AMP's numbers are too small for it."""
        if self._cpu is None:
            log.warning("some windows go to the CPU, which takes far longer")
            self._cpu = Cpu(checkpoints.load(self.model.checkpoint, "cpu"))
        return self._cpu.start(batch)

    def _count(self, size: int, fits: int) -> None:
        with self._counting:
            counters = self.counters
            counters.windows += size or 1
            counters.on_cpu += not size
            counters.batches += 1
            counters.batch, counters.limit = size, fits

    @torch.inference_mode()
    def _finish(self, flight: Flight) -> None:
        try:
            if flight.error is not None:
                raise flight.error
            results = self._repaired(_together(flight.results), flight.batch)
        except Exception as error:
            self._find_culprit(flight, error)
            results = None
        if self._on.borrows:
            _give_back(flight.tickets)
        if results is not None:
            at = 0
            for ticket in flight.tickets:
                _call(ticket.scored, results[at : at + ticket.windows])
                at += ticket.windows

    def _repaired(self, results: np.ndarray, batch: Batch) -> np.ndarray:
        """The results; what was too large for the numbers of AMP is predicted once more, on the CPU in float32."""
        if self.model.dtype == "float32" or np.isfinite(results).all():
            return results
        (lost,) = np.nonzero(~np.isfinite(results.reshape(len(results), -1)).all(1))
        log.warning("%d windows are too much for %s, and go to the CPU: see GENREMILL_AMP", len(lost), self.model.dtype)
        for at in lost.tolist():
            results[at] = self._spare(batch.part(at, at + 1))()[0].numpy()
        return results

    def _find_culprit(self, flight: Flight, error: Exception) -> None:
        """A batch failed: each ticket once more, by itself, so that only that is refused which fails by itself."""
        self._check()
        at = 0
        for ticket in flight.tickets:
            part, at = flight.batch.part(at, at + ticket.windows), at + ticket.windows
            try:
                if len(flight.tickets) == 1:
                    raise error
                results = self._repaired(_together(self._run(part)), part)
            except Exception as own:
                log.error("a batch of %d windows failed", len(part), exc_info=own)
                self._check()
                _call(ticket.refused, Unclassifiable(f"the model {self.model.checkpoint.name} failed on it: {own}"))
            else:
                _call(ticket.scored, results)

    def _check(self) -> None:
        """End the process when its GPU does not answer any more."""
        try:
            self._on.check()
        except RuntimeError:
            _end_process("the GPU does not answer any more")


def _or_end(part: Callable[[], None]) -> None:
    """A thread of the engine, without which nothing would ever be predicted again."""
    try:
        part()
    except BaseException:
        _end_process("the engine failed")


def _end_process(reason: str) -> None:
    """Whoever started this process starts another, which does again what this one has not stored."""
    log.critical("%s: this worker ends", reason, exc_info=True)
    logging.shutdown()
    os._exit(BROKEN_EXIT_CODE)


def _together(results: list[Result]) -> np.ndarray:
    """All of a batch: float32 (windows, labels) or (windows,)."""
    outputs: list[Tensor] = [result() for result in results]
    return torch.cat(outputs).numpy() if len(outputs) > 1 else outputs[0].numpy()


def _give_back(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        _call(ticket.taken)


def _call(callback: Callable, *arguments) -> None:
    try:
        callback(*arguments)
    except Exception:
        log.exception("a callback of the engine failed")
