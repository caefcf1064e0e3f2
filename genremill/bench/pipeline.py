"""The worker's way from files to probabilities, without Celery and SQL."""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import settings
from genremill.bench.target import start_engine
from worker.decode.pool import DecodePool, WindowBlock
from worker.errors import TrackError
from worker.inference.engine import Engine
from worker.inference.executors import pin
from worker.inference.requests import WindowRequest
from worker.models.checkpoints import Model


class Pipeline:
    """Decode children around an engine, as in a worker. Close it."""

    def __init__(self, model: Model, device: str):
        config = settings.load()
        children = config.decode_processes_for(device)
        self._decoders = DecodePool(
            children,
            native=device != "cpu",
            deadline_s=config.decode_deadline_s,
            memory_mib=config.decode_memory_mib,
        )
        self._unpin = None if device == "cpu" else pin(self._decoders.memory)
        self._engine = start_engine(model, device)
        self._windowing = self._engine.windowing("regions")

    def analyse(self, paths: Sequence[Path]) -> list[np.ndarray | None]:
        """The probabilities (labels,) of each file; None of one that failed."""
        results: list[np.ndarray | None] = [None] * len(paths)
        done = threading.Semaphore(0)

        def keep(number: int, probabilities: np.ndarray | None) -> None:
            results[number] = probabilities
            done.release()

        for number, path in enumerate(paths):
            track = _Track(self._engine, lambda probabilities, number=number: keep(number, probabilities))
            self._decoders.submit(os.fsencode(path), self._windowing, track)
        for _ in paths:
            done.acquire()
        return results

    def close(self) -> None:
        """End the children and the engine."""
        self._decoders.close()
        self._engine.close()
        if self._unpin is not None:
            self._unpin()


class _Track:
    """The sink of one track's windows: calls `over` once, with their mean, or None when something failed."""

    def __init__(self, engine: Engine, over: Callable[[np.ndarray | None], None]):
        self._engine, self._over = engine, over
        self._lock = threading.Lock()
        self._waiting = 1  # windows in the engine, and one for the decoder
        self._scored: list[np.ndarray] = []
        self._failed = False

    def windows(self, block: WindowBlock) -> None:
        count = block.windows
        with self._lock:
            self._waiting += count
        refuse = lambda _: self._settle(count, True)  # noqa: E731
        self._engine.submit(
            WindowRequest(block.pcm, block.release, self._add, refuse, block.frames, native=block.native)
        )

    def end(self) -> None:
        self._settle(1)

    def failed(self, _error: TrackError) -> None:
        self._settle(1, True)

    def _add(self, probabilities: np.ndarray) -> None:
        self._scored.append(probabilities.copy())
        self._settle(len(probabilities))

    def _settle(self, count: int, failed: bool = False) -> None:
        with self._lock:
            self._waiting -= count
            self._failed |= failed
            over = not self._waiting
        if over:
            self._over(None if self._failed else np.concatenate(self._scored).mean(0))
