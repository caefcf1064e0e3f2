"""One track from its windows to its outcome, through a real engine into a real database."""

from dataclasses import replace

import pytest

from tests.conftest import wait_until
from tests.integration.rows import rows
from tests.support.jobs import windows_of
from worker.errors import MissingFileError
from worker.jobs.job_progress import JobProgress
from worker.jobs.result_writer import ResultWriter
from worker.jobs.track_run import TrackRun

SCORES = "SELECT name, probability FROM score JOIN genre ON genre.id = genre_id ORDER BY genre_id"
PREDICTION = "SELECT status, windows, error_code, error_detail, device, amp FROM prediction WHERE track_id = {}"


@pytest.fixture
def writer(database):
    writer = ResultWriter(database)
    yield writer
    writer.close()


@pytest.fixture
def progress():
    return JobProgress()


@pytest.fixture
def run(job, loaded, writer, progress):
    return TrackRun(job, job.tracks[1], loaded, writer, progress)


def prediction(database, job):
    return rows(database, PREDICTION.format(job.tracks[1].id))


def test_a_track_gets_the_mean_of_the_windows_of_all_its_blocks(database, job, run, progress):
    blocks = [windows_of((8192, 0, 32_767), (16_384, 0, 32_767)), windows_of((24_576, 4096, 32_767))]
    for block in blocks:
        run.sink.windows(block)
    run.sink.end()
    assert progress.wait(1, timeout_s=30)
    assert prediction(database, job) == [("done", 3, None, None, "cpu", 0)]
    assert rows(database, SCORES) == [
        ("rock", 0.5),
        ("jazz", round(0.125 / 3, 6)),
        ("happy", round(32_767 / 32_768, 6)),
    ]
    assert (progress.stored, progress.failed, progress.error) == (1, 0, None)
    assert [len(block.releases) for block in blocks] == [1, 1]


def test_a_track_that_fails_after_some_windows_gets_no_scores(database, job, run, progress):
    run.sink.windows(windows_of((1, 2, 3), (4, 5, 6)))
    wait_until(lambda: run._mean.windows == 2)
    run.sink.failed(MissingFileError("it is gone"))
    run.sink.end()
    assert progress.wait(1, timeout_s=30)
    assert prediction(database, job) == [("failed", 2, "missing", "it is gone", "cpu", 0)]
    assert rows(database, SCORES) == []
    assert (progress.stored, progress.failed, progress.error) == (1, 1, None)


def test_a_track_is_stored_once_whatever_comes_after_its_end(database, job, run, progress, writer):
    run.sink.windows(windows_of((8192, 0, 0)))
    run.sink.end()
    assert progress.wait(1, timeout_s=30)
    run.sink.end()
    run.sink.failed(MissingFileError("it is gone"))
    run.sink.windows(windows_of((1, 1, 1)))
    writer.close()
    assert (progress.stored, progress.failed) == (1, 0)
    assert prediction(database, job) == [("done", 1, None, None, "cpu", 0)]
    assert rows(database, SCORES)[0] == ("rock", 0.25)
    ((elapsed_ms,),) = rows(database, f"SELECT elapsed_ms FROM prediction WHERE track_id = {job.tracks[1].id}")
    assert 0 < elapsed_ms < 30_000


def test_an_outcome_that_the_database_refuses_is_an_error_of_the_job(job, loaded, writer, progress):
    run = TrackRun(job, job.tracks[1], replace(loaded, genre_ids=(97, 98, 99)), writer, progress)
    run.sink.windows(windows_of((1, 2, 3)))
    run.sink.end()
    assert progress.wait(1, timeout_s=30)
    assert "of a model with the genres" in str(progress.error)
    assert progress.failed == 0
