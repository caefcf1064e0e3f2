"""One job, from its first track to its last: real files, decode processes, engine and database."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import wait_until
from tests.integration.rows import GENRES, claim, rows
from tests.support import audio
from tests.support.jobs import RATE_HZ, FirstSamples, start_engine
from worker.jobs.job_run import STALLED_S, JobRun, hand_back
from worker.jobs.loaded_models import LoadedModel
from worker.shutdown import stopping

WINDOW_SAMPLES = RATE_HZ
STATUSES = "SELECT status, error_code FROM prediction ORDER BY track_id"


@pytest.fixture(autouse=True)
def not_stopping():
    yield
    stopping.clear()


@pytest.fixture
def files(music, job):
    """Three of the job's four tracks: 3 s of one and the same number, 0.25, 0.5 and 0.75."""
    for number, level in enumerate((0.25, 0.5, 0.75)):
        path = audio.write(music / "track.wav", np.full(3 * RATE_HZ, level, np.float32), RATE_HZ)
        path.rename(music / f"{number:03}.mp3")


@pytest.fixture
def loaded(genre_ids):
    engine = start_engine(FirstSamples(), WINDOW_SAMPLES)
    yield LoadedModel(engine, genre_ids)
    engine.close()


@pytest.fixture
def events():
    return []


@pytest.fixture
def make_run(job, runtime, loaded, events):
    def make(is_fast=False, job=job, loaded=loaded):
        return JobRun(job, runtime, loaded, is_fast=is_fast, send_progress=events.append)

    return make


@pytest.fixture
def in_thread():
    """Calls a function in a thread of its own. Returns its future."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit


def test_every_track_gets_its_outcome_and_the_next_job_may_feed(database, runtime, files, make_run, events):
    run = make_run()
    assert run.run() == 4
    assert (run.progress.stored, run.progress.failed) == (4, 1)
    assert rows(database, STATUSES) == [("done", None)] * 3 + [("failed", "missing")]
    scores = rows(database, "SELECT track_id, probability FROM score ORDER BY track_id")
    assert [round(probability, 3) for _, probability in scores] == [0.25] * 3 + [0.5] * 3 + [0.75] * 3
    assert not runtime.feeding.locked()
    run.report()
    assert events[-1] == "4/4"


def test_a_job_waits_for_its_turn_to_feed_the_decode_processes(database, runtime, files, make_run, in_thread):
    before = rows(database, "SELECT lease_until FROM job")
    with runtime.feeding:
        running = in_thread(make_run().run)
        wait_until(lambda: rows(database, "SELECT lease_until FROM job") != before)  # it is renewed meanwhile
        assert not running.done()
        assert rows(database, "SELECT count(*) FROM prediction WHERE status = 'running'") == [(4,)]
    assert running.result(30) == 4


def test_a_fast_job_does_not_wait_for_its_turn(runtime, files, make_run):
    with runtime.feeding:
        assert make_run(is_fast=True).run() == 4


@pytest.mark.parametrize("is_fast", [True, False])
def test_a_worker_that_stops_submits_no_further_track(files, make_run, is_fast):
    stopping.set()
    assert make_run(is_fast).run() == 0


def test_a_job_that_waits_for_its_turn_ends_when_the_worker_stops(runtime, files, make_run, in_thread):
    with runtime.feeding:
        running = in_thread(make_run().run)
        assert not running.done()
        stopping.set()
        assert running.result(30) == 0


def test_a_job_whose_lease_was_lost_ends_and_leaves_the_other_workers_job_alone(
    database, job_id, runtime, files, make_run, in_thread, job
):
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE job SET lease_until = '2000-01-01 00:00:00'")
    with runtime.feeding:
        running = in_thread(make_run().run)
        other = claim(database, job_id, "b")
        assert running.result(30) == 0
    hand_back(runtime, job)
    assert rows(database, "SELECT status, worker, attempts FROM job") == [("running", "b", other.attempt)]


class Stuck(torch.nn.Module):
    """A network that does not answer until it is let go."""

    def __init__(self):
        super().__init__()
        self.let_go = threading.Event()

    def forward(self, waveform):
        self.let_go.wait(60)
        return waveform[:, : len(GENRES)]


def test_a_job_that_stands_still_gives_up_its_lease(database, files, make_run, genre_ids, in_thread, job, caplog):
    network = Stuck()
    engine = start_engine(network, WINDOW_SAMPLES)
    run = make_run(loaded=LoadedModel(engine, genre_ids))
    try:
        running = in_thread(run.run)
        wait_until(lambda: run.progress.stored == 1)  # the track whose file is missing
        assert not running.done()
        run.progress.last_progress_at -= STALLED_S + 1
        assert running.result(30) == 1
    finally:
        network.let_go.set()
        engine.close()
    assert f"job {job.id}: no track was stored for 600 s" in caplog.text


def test_an_outcome_that_the_database_refuses_is_an_error_of_the_job(files, make_run, loaded):
    with pytest.raises(ValueError, match="genres"):
        make_run(loaded=replace(loaded, genre_ids=(97, 98, 99))).run()
