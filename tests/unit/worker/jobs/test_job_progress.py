"""Counting the tracks of a job that are stored."""

import threading
import time

from worker.jobs.job_progress import JobProgress


def test_tracks_are_counted_and_those_that_failed_among_them():
    progress = JobProgress()
    for failed in (False, True, False):
        progress.add(failed, None)
    assert (progress.stored, progress.failed, progress.error) == (3, 1, None)


def test_the_first_storing_error_is_kept():
    progress, first = JobProgress(), OSError("first")
    for error in (None, first, OSError("second"), None):
        progress.add(False, error)
    assert progress.error is first
    assert (progress.stored, progress.failed) == (4, 0)


def test_waiting_ends_with_the_last_track_that_is_awaited():
    progress = JobProgress()
    assert progress.wait(0, timeout_s=0)
    progress.add(False, None)
    assert not progress.wait(2, timeout_s=0.01)
    threading.Timer(0.05, progress.add, (False, None)).start()
    started_at = time.monotonic()
    assert progress.wait(2, timeout_s=30)
    assert time.monotonic() - started_at < 10


def test_storing_a_track_and_waiting_for_a_turn_are_progress():
    progress = JobProgress()
    for happen in (lambda: progress.add(False, None), progress.excuse_wait):
        progress.last_progress_at = 0.0
        happen()
        assert progress.last_progress_at > 0
