"""What the jobs of a worker process share."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from db.jobs import ClaimedTrack
from settings import Settings
from tests.integration.rows import claim, rows
from tests.unit.worker.conftest import NODE
from worker.jobs.job_run import load_model
from worker.jobs.runtime import WorkerRuntime
from worker.models import checkpoints


def test_a_new_process_takes_back_what_a_dead_one_of_its_name_held(config, database, job_id):
    claim(database, job_id, worker=NODE)
    WorkerRuntime.start(NODE, config).close()
    assert rows(database, "SELECT status, worker FROM job") == [("queued", None)]


def test_a_new_process_leaves_the_jobs_of_other_workers_alone(config, database, job_id):
    claim(database, job_id, worker="gpu0@other")
    WorkerRuntime.start(NODE, config).close()
    assert rows(database, "SELECT status, worker FROM job") == [("running", "gpu0@other")]


def test_close_ends_every_thread_and_process(config, database):
    before = set(threading.enumerate())
    runtime = WorkerRuntime.start(NODE, config)
    assert set(threading.enumerate()) > before
    runtime.close()
    assert set(threading.enumerate()) <= before


def test_two_jobs_are_held_until_a_model_is_loaded_then_as_many_as_fill_its_batches(runtime, job):
    assert runtime.jobs_to_hold() == 2
    checkpoint = checkpoints.find_checkpoint("musicnn")
    load_model(runtime, replace(job, model="musicnn", version=checkpoint.version, weights_sha256=checkpoint.sha256))
    # A batch on a CPU is the 9 windows of one track, and 4 tracks are for the decode process: 5 tracks.
    for job_tracks, jobs in ((16, 2), (5, 2), (4, 3), (2, 4), (1, 6)):
        runtime.job_tracks = job_tracks
        assert runtime.jobs_to_hold() == jobs


@pytest.mark.parametrize(
    ("root", "path"),
    [
        (b"/music", b"/mnt/nas/a/\xff.mp3"),
        (b"/other", b"/other/a/\xff.mp3"),
        (b"/mus\xfec", b"/mus\xfec/a/\xff.mp3"),
        (b"/music2", b"/music2/a/\xff.mp3"),
        (b"/music/b", b"/mnt/nas/b/a/\xff.mp3"),  # A library in the folder that is mounted.
        (b"/music/more", b"/mnt/more/a/\xff.mp3"),
        (b"/srv", b"/mnt/a/\xff.mp3"),  # The library has the folder that is mounted.
    ],
)
def test_a_track_is_looked_for_where_this_host_mounts_its_library(runtime, config, root, path):
    mounts = {"/music": "/mnt/nas", "/music/more": "/mnt/more", "/srv/a": "/mnt/a"}
    roots = {root: Path(folder) for root, folder in mounts.items()}
    runtime.config = Settings(**{**config.model_dump(), "roots": roots})
    assert runtime.path(ClaimedTrack(1, root, b"a/\xff.mp3")) == path
