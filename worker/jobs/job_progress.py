"""How far a job is: how many of its tracks are stored."""

import threading
import time


class JobProgress:
    """Counts the tracks of a job as their outcomes are stored. The result writer adds, the job's thread waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._awaited = 0  # Tracks that wait() waits for. Until so many are stored, waking its thread is a waste.
        self.stored = 0  # Tracks with an outcome that is stored, or that the database has refused.
        self.failed = 0  # Tracks of these whose outcome is an error.
        self.error: Exception | None = None  # The first reason why an outcome could not be stored.
        self.last_progress_at = time.monotonic()  # When a track was last stored, or the job had to wait for its turn.

    def add(self, failed: bool, error: Exception | None) -> None:
        """Count a track. failed: its outcome is an error. error: why the outcome could not be stored."""
        with self._changed:
            self.stored += 1
            self.failed += failed
            self.error = self.error or error
            self.last_progress_at = time.monotonic()
            if self.stored >= self._awaited:
                self._changed.notify_all()

    def excuse_wait(self) -> None:
        """The job waits for its turn: that nothing is stored meanwhile is no standstill."""
        self.last_progress_at = time.monotonic()

    def wait(self, tracks: int, timeout_s: float) -> bool:
        """Wait until so many tracks are stored. Returns False when they are not within the time."""
        with self._changed:
            self._awaited = tracks
            return self._changed.wait_for(lambda: self.stored >= tracks, timeout_s)
