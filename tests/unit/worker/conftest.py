"""What the tests of a worker share: a real SQLite database with a job, and a real runtime."""

import sys

import pytest

from db.models import put_genres
from settings import Settings
from tests.integration.rows import GENRES, claim, plan, put_job, put_tracks
from tests.support.jobs import FirstSamples, start_engine
from worker.jobs.loaded_models import LoadedModel
from worker.jobs.runtime import WorkerRuntime

NODE = "cpu@test"


@pytest.fixture
def database_url(tmp_path):
    return f"sqlite:///{tmp_path}/genremill.db"


@pytest.fixture
def music(tmp_path):
    """The folder that the tracks of `job` are in, without the files."""
    folder = tmp_path / "music"
    folder.mkdir()
    return folder


@pytest.fixture
def job_id(database, music):
    """A queued job of four tracks, 000.mp3 to 003.mp3."""
    return put_job(database, plan(database, put_tracks(database, list("abcd"), bytes(music))))


@pytest.fixture
def job(database, job_id):
    """The job, claimed."""
    return claim(database, job_id)


@pytest.fixture
def genre_ids(database, job):
    with database.write() as connection:
        ids = put_genres(connection, job.model_id, GENRES, "{}")
    return tuple(ids[name] for name, _ in GENRES)


@pytest.fixture
def loaded(genre_ids):
    """The network FirstSamples for windows of 8 samples, with the job's genres."""
    engine = start_engine(FirstSamples(), 8)
    yield LoadedModel(engine, genre_ids)
    engine.close()


@pytest.fixture
def config(tmp_path, database_url):
    return Settings(
        data_dir=tmp_path / "data", database_url=database_url, decode_children=1, lease_s=1.5, cores=2, job_tracks=16
    )


@pytest.fixture
def runtime(config, database):
    switch_interval_s = sys.getswitchinterval()
    runtime = WorkerRuntime.start(NODE, config)
    yield runtime
    runtime.close()
    sys.setswitchinterval(switch_interval_s)
