"""The windows of one track on their way from the decode processes through the engine, counted down to the last result.

The decode processes deliver a track's windows in blocks. The engine answers them in any order, from several threads. A
track is finished when the decoder has delivered its last block and the engine has answered every window, or when
something fails before that.
"""

import threading
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from worker.errors import TrackError, UnclassifiableError
from worker.inference.requests import WindowRequest
from worker.windowing import FrameCut, NativeLayout


class Block(Protocol):
    """Some windows of a track: worker.decode.sink.WindowBlock, or worker.jobs.peak_pass.HeldBlock."""

    @property
    def pcm(self) -> npt.NDArray[np.int16]:
        """Samples: (windows, samples), or (regions, frames, channels) where `native` says how windows lie in them."""

    @property
    def cut(self) -> FrameCut | None:
        """How each window is cut by frames; None for models without a hop."""

    @property
    def native(self) -> NativeLayout | None:
        """How windows lie in regions that are as the file has them."""

    @property
    def release(self) -> Callable[[], None]:
        """Gives the memory of the samples back."""


class TrackSink:
    """Hands the windows of one track to the engine, and calls `on_finish` once, when the track is finished.

        decoding ── end() ──> waiting for results ── the last result ──> finished: on_finish(None)
            │                         │
            └─────── an error ────────┴────────────────────────────────> finished: on_finish(error)

    Where all results are there before end(), end() finishes the track. An error finishes it at once, while other
    windows of the track may still be in the engine: their results are ignored. Blocks that come later are released
    unread.

    This is a worker.decode.sink.Sink: a DecodePool calls `windows`, `end` and `failed`.

    submit: gives windows to the engine: Engine.submit.
    add_results: gets the engine's results for some windows: see WindowRequest.on_result. One thread at a time calls it.
    It must not keep the array, and may raise a TrackError, which fails the track.
    on_finish: called with None or the error, from a thread of the decode pool or of the engine.
    wants_peak: whether the engine is asked for the windows' peaks instead of their probabilities.
    """

    def __init__(
        self,
        submit: Callable[[WindowRequest], None],
        add_results: Callable[[npt.NDArray[np.float32]], None],
        on_finish: Callable[[TrackError | None], None],
        *,
        wants_peak: bool = False,
    ) -> None:
        self._submit, self._add_results, self._on_finish = submit, add_results, on_finish
        self._wants_peak = wants_peak
        self._lock = threading.Lock()
        self._windows_in_engine = 0
        self._decoded = False  # whether the decoder has delivered all windows
        self._finished = False
        self.peak: float | None = None  # The peak of the track, where it is known before the first windows.

    @property
    def finished(self) -> bool:
        """Whether on_finish has been called, or is being called."""
        return self._finished

    def windows(self, block: Block) -> None:
        """Some windows of the track: they go to the engine, which releases the block."""
        request = WindowRequest(
            pcm=block.pcm,
            on_copied=block.release,
            on_result=self._receive,
            on_error=self.failed,
            cut=block.cut and block.cut._replace(peak=self.peak),
            wants_peak=self._wants_peak,
            native=block.native,
        )
        with self._lock:
            finished = self._finished
            self._windows_in_engine += request.windows
        if finished:
            block.release()
        else:
            self._submit(request)

    def end(self) -> None:
        """The decoder has delivered all windows of the track."""
        with self._lock:
            self._decoded = True
            complete = self._is_complete()
        if complete:
            self._finish(None)

    def failed(self, error: TrackError) -> None:
        """The track cannot be read, or the engine cannot predict some of its windows."""
        self._finish(error)

    def _receive(self, results: npt.NDArray[np.float32]) -> None:
        try:
            with self._lock:
                if self._finished:
                    return
                self._add_results(results)
                self._windows_in_engine -= len(results)
                complete = self._is_complete()
        except TrackError as error:
            self._finish(error)
            return
        if complete:
            self._finish(None)

    def _is_complete(self) -> bool:
        return self._decoded and self._windows_in_engine == 0

    def _finish(self, error: TrackError | None) -> None:
        with self._lock:
            if self._finished:
                return
            self._finished = True
        self._on_finish(error)


class WindowMean:
    """The mean of a track's probabilities over all its windows, and that of their embeddings, if they have any.

    `add` is what a TrackSink wants as add_results.

    genres: how many probabilities a window has.
    model: the model's name, for messages.
    embedding_size: how many values the embedding of a window has; 0 when there is none.
    """

    def __init__(self, genres: int, model: str, embedding_size: int = 0) -> None:
        self._genres, self._model = genres, model
        self._sum = np.zeros(genres + embedding_size)  # float64, because a long track has thousands of windows
        self.windows = 0  # Windows added so far.

    def add(self, results: npt.NDArray[np.float32]) -> None:
        """Add the probabilities and embeddings of some windows, (windows, genres + embedding_size).

        Raises UnclassifiableError for any other shape, and for probabilities that are NaN or infinite. Embeddings may
        be: see embedding().
        """
        if results.shape[1:] != self._sum.shape:
            raise UnclassifiableError(
                f"the model {self._model} gave an array of shape {results.shape} for {self._expected}"
            )
        if not np.isfinite(results[:, : self._genres]).all():
            raise UnclassifiableError(f"the model {self._model} gave no number for some of its windows")
        with np.errstate(invalid="ignore"):  # Embeddings may be infinite in both directions.
            self._sum += results.sum(0, dtype=np.float64)
        self.windows += len(results)

    @property
    def _expected(self) -> str:
        """What a window should have, for messages."""
        size = len(self._sum) - self._genres
        return f"{self._genres} genres" + (f" and an embedding of {size} values" if size else "")

    def mean(self) -> npt.NDArray[np.float64]:
        """The mean probabilities (genres,) of the windows added so far, of which there must be one at least."""
        return self._sum[: self._genres] / self.windows

    def embedding(self) -> npt.NDArray[np.float64]:
        """The mean embedding (embedding_size,) of the same windows. It has NaN or infinity where a window's has."""
        return self._sum[self._genres :] / self.windows
