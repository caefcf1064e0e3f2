"""Runs one batch of requests on a device, and answers them, whatever happens to the batch. Has no threads of its own.

Windows whose numbers are too large for AMP are predicted again on the CPU. When a batch fails, each of its requests is
tried once more by itself, so that only those requests fail that fail by themselves.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import ParamSpec

import numpy as np
import numpy.typing as npt
import torch

from worker.errors import UnclassifiableError
from worker.inference.batch import Batch, make_batch
from worker.inference.batch_starter import BatchStarter
from worker.inference.executors import Executor, Result
from worker.inference.requests import WindowRequest
from worker.models.checkpoints import Model

log = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Predictions = npt.NDArray[np.float32]  # What executors.compute() gives: probabilities and embeddings, or peaks.


class DeviceLostError(Exception):
    """The device does not answer any more: nothing will ever be predicted in this process again."""


@dataclass(frozen=True)
class InFlightBatch:
    """Requests whose batch was started.

    batch: their windows, in the order of the requests. results: of the batch's parts, in their order.
    error: why the batch could not be started; then there are no results.
    """

    requests: list[WindowRequest]
    batch: Batch
    results: list[Result]
    error: Exception | None = None


class BatchRunner:
    """Starts batches of requests on an executor, and finishes them. Different threads may do the one and the other.

    starter: starts batches on the same executor.
    """

    def __init__(self, model: Model, executor: Executor, starter: BatchStarter) -> None:
        self._model, self._executor, self._starter = model, executor, starter

    @torch.inference_mode()
    def start(self, requests: Sequence[WindowRequest]) -> InFlightBatch:
        """Start a batch of requests, which must all want the same answer. An error is kept for finish()."""
        in_order = sorted(requests, key=attrgetter("layout_key"))
        copied = not self._executor.reads_in_place
        batch = make_batch(in_order, copied=copied)
        if copied:
            _release(in_order)
        try:
            return InFlightBatch(in_order, batch, self._starter.start(batch))
        except Exception as error:  # A model that a user has added may raise anything.
            return InFlightBatch(in_order, batch, [], error)

    @torch.inference_mode()
    def finish(self, in_flight: InFlightBatch) -> None:
        """Wait for a batch, and answer its requests. Raises DeviceLostError when it failed with its device."""
        answers = self._answers(in_flight)
        if self._executor.reads_in_place:
            _release(in_flight.requests)
        for request, answer in zip(in_flight.requests, answers, strict=True):
            if isinstance(answer, UnclassifiableError):
                _call(request.on_error, answer)
            else:
                _call(request.on_result, answer)

    def _answers(self, in_flight: InFlightBatch) -> list[Predictions | UnclassifiableError]:
        """What each request of a batch is told."""
        try:
            if in_flight.error is not None:
                raise in_flight.error
            predictions = self._repaired(_wait_for_all(in_flight.results), in_flight.batch)
        except Exception as error:
            return self._retry_individually(in_flight, error)
        return [predictions[begin:end] for begin, end in _bounds(in_flight.requests)]

    def _repaired(self, predictions: Predictions, batch: Batch) -> Predictions:
        """The predictions of a batch; what was too large for AMP is predicted once more, on the CPU in float32.

        Embeddings are not looked at, so that probabilities do not depend on whether they are wanted.
        """
        embedding_size = 0 if batch.wants_peak else self._model.embedding_size
        checked = predictions[:, :-embedding_size] if embedding_size else predictions
        if self._model.dtype == "float32" or np.isfinite(checked).all():
            return predictions
        (lost,) = np.nonzero(~np.isfinite(checked.reshape(len(checked), -1)).all(1))
        dtype = self._model.dtype
        log.warning("%d windows are too much for %s, and go to the CPU: see GENREMILL_AMP", len(lost), dtype)
        for window in lost.tolist():
            predictions[window] = self._starter.run_on_cpu(batch.part(window, window + 1))()[0].numpy()
        return predictions

    def _retry_individually(
        self, in_flight: InFlightBatch, error: Exception
    ) -> list[Predictions | UnclassifiableError]:
        """What each request of a failed batch is told: each is tried once more by itself, unless it already was."""
        self._check()
        if len(in_flight.requests) == 1:
            return [self._failure(in_flight.batch, error)]
        return [self._retry(in_flight.batch.part(begin, end)) for begin, end in _bounds(in_flight.requests)]

    def _retry(self, part: Batch) -> Predictions | UnclassifiableError:
        """The answer to one request of a failed batch, whose windows are `part`."""
        try:
            return self._repaired(_wait_for_all(self._starter.start(part)), part)
        except Exception as error:
            return self._failure(part, error)

    def _failure(self, part: Batch, error: Exception) -> UnclassifiableError:
        """What a request is told that failed by itself."""
        log.error("a batch of %d windows failed", len(part), exc_info=error)
        self._check()
        return UnclassifiableError(f"the model {self._model.checkpoint.name} failed on it: {error}")

    def _check(self) -> None:
        """Raises DeviceLostError when the device does not answer any more."""
        try:
            self._executor.check()
        except RuntimeError as error:
            raise DeviceLostError("the GPU does not answer any more") from error


def _wait_for_all(results: Iterable[Result]) -> Predictions:
    """The predictions of all parts of a batch."""
    predictions = [wait() for wait in results]
    whole: Predictions = (torch.cat(predictions) if len(predictions) > 1 else predictions[0]).numpy()
    return whole


def _bounds(requests: Iterable[WindowRequest]) -> Iterator[tuple[int, int]]:
    """Where each request's windows begin and end in their batch."""
    return pairwise(accumulate((request.windows for request in requests), initial=0))


def _release(requests: Iterable[WindowRequest]) -> None:
    """Tell requests that their PCM is no longer read."""
    for request in requests:
        _call(request.on_copied)


def _call(callback: Callable[Arguments, object], *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
    """Call a request's callback. What it raises is logged, since the other requests of the batch must not suffer."""
    try:
        callback(*args, **kwargs)
    except Exception:
        log.exception("a callback of the engine failed")
