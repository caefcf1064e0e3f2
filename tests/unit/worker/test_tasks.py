"""What becomes of a job's message: with real files, musicnn, decode processes and a real database."""

import atexit

import pytest
from celery.exceptions import Reject
from celery.worker import state

from tests.integration.rows import claim, counts, rows
from tests.support import audio
from worker import tasks
from worker.exit_codes import SETUP_EXIT_CODE
from worker.models import checkpoints
from worker.shutdown import stopping

CHECKPOINT = checkpoints.find_checkpoint("musicnn")


@pytest.fixture(autouse=True)
def not_stopping():
    yield
    stopping.clear()
    state.should_stop = None
    atexit.unregister(print)  # what a worker says at its end


@pytest.fixture
def musicnn_job_id(database, job_id, music):
    """The queued job of a run that was ordered with musicnn. Two of its four tracks have a file."""
    for number in range(2):
        audio.write(music / "track.wav", audio.sweep(7, 16_000), 16_000).rename(music / f"{number:03}.mp3")
    change_model(database, CHECKPOINT.sha256)
    return job_id


def change_model(database, weights_sha256):
    values = (CHECKPOINT.name, CHECKPOINT.version, weights_sha256)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE model SET name = ?, version = ?, weights_sha256 = ?", values)


def analyse(runtime, job_id, **options):
    return tasks.analyse_job(runtime, job_id, **{"is_fast": False, "send_progress": lambda text: None, **options})


def test_a_job_is_done_when_each_of_its_tracks_has_an_outcome(database, runtime, musicnn_job_id):
    texts = []
    assert analyse(runtime, musicnn_job_id, send_progress=texts.append) == "4/4 tracks, 2 failed"
    assert texts[-1] == "4/4"
    assert counts(database, 1) == {"found": 4, "done": 2, "failed": 2}
    assert rows(database, "SELECT status, worker FROM job") == [("done", runtime.node)]
    assert runtime.job_tracks == 4
    assert analyse(runtime, musicnn_job_id) == "held by another worker, or done"


def test_a_job_that_another_worker_holds_is_left_alone(database, runtime, job_id):
    claim(database, job_id, worker="gpu0@other")
    assert analyse(runtime, job_id) == "held by another worker, or done"
    assert rows(database, "SELECT status, worker FROM job") == [("running", "gpu0@other")]


def test_a_job_that_is_not_done_goes_back_into_the_queue(database, runtime, musicnn_job_id):
    stopping.set()
    with pytest.raises(Reject, match="4 of 4 tracks are left for the next worker") as raised:
        analyse(runtime, musicnn_job_id)
    assert raised.value.requeue
    assert rows(database, "SELECT status, worker, attempts FROM job") == [("queued", None, 0)]


def test_a_worker_that_lacks_the_weights_of_a_job_hands_it_back_and_stops(database, runtime, musicnn_job_id):
    change_model(database, "f" * 64)
    with pytest.raises(Reject, match="this host has other weights of musicnn") as raised:
        analyse(runtime, musicnn_job_id)
    assert raised.value.requeue
    assert rows(database, "SELECT status, worker, attempts FROM job") == [("queued", None, 0)]
    assert stopping.is_set()
    assert state.should_stop == SETUP_EXIT_CODE


def test_a_worker_whose_database_became_that_of_a_newer_genremill_takes_no_job_and_stops(database, runtime, job_id):
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Reject, match="made by a newer genremill") as raised:
        analyse(runtime, job_id)
    assert raised.value.requeue
    assert rows(database, "SELECT status, worker, attempts FROM job") == [("queued", None, 0)]
    assert stopping.is_set()
    assert state.should_stop == SETUP_EXIT_CODE


def test_a_worker_that_is_not_ready_takes_no_job():
    with pytest.raises(Reject, match="this worker is stopping") as raised:
        tasks.classify("a job")
    assert raised.value.requeue
    assert tasks.jobs_to_hold() == 2


def test_a_database_that_cannot_be_used_ends_the_worker_before_it_takes_a_job(tmp_path, monkeypatch, data_dir, capsys):
    monkeypatch.setenv("GENREMILL_DATABASE_URL", "mysql://nowhere")
    with pytest.raises(SystemExit) as raised:
        tasks.start_runtime("cpu@test")
    assert raised.value.code == SETUP_EXIT_CODE
    assert capsys.readouterr().err.startswith("genremill: GENREMILL_DATABASE_URL is not a database address")


def test_a_runtime_is_there_from_the_start_of_the_worker_to_its_end(data_dir, monkeypatch):
    monkeypatch.setenv("GENREMILL_DECODE_CHILDREN", "1")
    tasks.start_runtime("cpu@test")
    try:
        assert tasks.classify.apply([99]).get() == "held by another worker, or done"
        stopping.set()
        with pytest.raises(Reject):
            tasks.classify(99)
    finally:
        stopping.clear()
        tasks.close_runtime()
    tasks.close_runtime()
    with pytest.raises(Reject):
        tasks.classify(99)
