"""The models of a worker process: loaded once, and only with the weights that a run was ordered with."""

from dataclasses import replace

import pytest

from settings import GenremillError
from tests.integration.rows import rows
from worker.jobs.job_run import load_model
from worker.models import checkpoints

CHECKPOINT = checkpoints.find_checkpoint("musicnn")


@pytest.fixture
def musicnn_job(job):
    """The job, as if its run had been ordered with musicnn."""
    return replace(job, model="musicnn", version=CHECKPOINT.version, weights_sha256=CHECKPOINT.sha256)


def test_a_model_is_loaded_once_and_its_genres_are_entered(database, runtime, musicnn_job):
    assert runtime.models.loaded() == []
    first, second = (load_model(runtime, musicnn_job) for _ in range(2))
    assert first is second
    assert runtime.models.loaded() == [first]
    labels = first.engine.model.labels
    names = dict(rows(database, "SELECT id, name FROM genre"))
    assert [names[id_] for id_ in first.genre_ids] == [name for name, _ in labels]
    ((name, dtype, counters),) = runtime.models.counters()
    assert (name, dtype, counters.windows) == ("musicnn", "float32", 0)


@pytest.mark.parametrize("change", [{"version": "0"}, {"weights_sha256": "f" * 64}])
def test_other_weights_than_a_run_was_ordered_with_are_refused(runtime, musicnn_job, change):
    with pytest.raises(GenremillError, match="this host has other weights of musicnn than the run was ordered with"):
        load_model(runtime, replace(musicnn_job, **change))
    assert runtime.models.loaded() == []


def test_a_model_that_this_host_does_not_have_is_refused(runtime, job):
    with pytest.raises(GenremillError, match="model"):
        load_model(runtime, job)
