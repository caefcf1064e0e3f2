"""A track's embedding on its way into the database, beside its probabilities or left out."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.integration.rows import rows
from tests.support.jobs import FirstSamples, start_engine, windows_of
from worker.errors import MissingFileError
from worker.jobs.job_progress import JobProgress
from worker.jobs.job_run import load_model
from worker.jobs.loaded_models import LoadedModel
from worker.jobs.result_writer import ResultWriter
from worker.jobs.track_run import TrackRun, pack_float16
from worker.models import checkpoints

STORED = "SELECT status, vector FROM prediction LEFT JOIN embedding ON prediction_id = prediction.id"


class Embedding(FirstSamples):
    """Embeddings are `scale` times the first sample of a window, and what follows it."""

    embedding_size = 2

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward_with_embedding(self, waveform):
        return self(waveform), waveform[:, :2] * torch.tensor([self.scale, 1])


def analyse(database, job, genre_ids, network, embedding_size, error=None):
    """Analyse a track of two windows. Returns the outcome's row: its status, its scores' number and its embedding."""
    engine = start_engine(network, 8, embedding_size)
    writer, progress = ResultWriter(database), JobProgress()
    run = TrackRun(job, job.tracks[0], LoadedModel(engine, genre_ids), writer, progress)
    run.sink.windows(windows_of((8192, 16_384, 0), (16_384, 0, 0)))
    if error:
        run.sink.failed(error)
    run.sink.end()
    assert progress.wait(1, timeout_s=30)
    engine.close()
    writer.close()
    (row,) = rows(database, f"{STORED} WHERE track_id = {job.tracks[0].id}")
    ((scores,),) = rows(database, "SELECT count(*) FROM score")
    return row[0], scores, row[1]


def test_a_track_gets_the_mean_of_its_windows_embeddings(database, job, genre_ids):
    status, scores, stored = analyse(database, job, genre_ids, Embedding(scale=4), 2)
    assert (status, scores) == ("done", 3)
    assert np.frombuffer(stored, "<f2").tolist() == [1.5, 0.25]


def test_without_embeddings_there_is_none(database, job, genre_ids):
    assert analyse(database, job, genre_ids, Embedding(), 0) == ("done", 3, None)


def test_a_track_that_fails_has_none(database, job, genre_ids):
    assert analyse(database, job, genre_ids, Embedding(), 2, MissingFileError("gone")) == ("failed", 0, None)


@pytest.mark.parametrize("scale", [math.nan, math.inf, 1e6])
def test_an_embedding_that_cannot_be_stored_costs_the_track_nothing_else(database, job, genre_ids, caplog, scale):
    with caplog.at_level(logging.WARNING):
        assert analyse(database, job, genre_ids, Embedding(scale), 2) == ("done", 3, None)
    assert f"track {job.tracks[0].id} is stored without its embedding" in caplog.text


@pytest.mark.parametrize(("embeddings", "size"), [("auto", 200), ("on", 200), ("off", 0)])
def test_a_worker_loads_models_as_the_setting_says(runtime, job, embeddings, size):
    checkpoint = checkpoints.find_checkpoint("musicnn")
    runtime.models._config = runtime.config.model_copy(update={"embeddings": embeddings})
    musicnn_job = replace(job, model="musicnn", version=checkpoint.version, weights_sha256=checkpoint.sha256)
    assert load_model(runtime, musicnn_job).engine.model.embedding_size == size


def test_numbers_are_packed_in_little_endian_halves():
    assert pack_float16(np.array([1.0, -2.0, 0.0])) == bytes.fromhex("003c 00c0 0000")
    assert pack_float16(np.array([])) == b""


def test_packing_keeps_eleven_bits_of_each_number():
    values = np.random.default_rng(0).normal(0, 3, 1000)
    found = np.frombuffer(pack_float16(values), "<f2").astype(np.float64)
    assert (np.abs(found - values) <= np.abs(values) * 2**-11 + 2**-25).all()


@pytest.mark.parametrize(("value", "fits"), [(65_504.0, True), (-65_504.0, True), (65_536.0, False), (-1e9, False)])
def test_what_is_too_large_for_float16_is_not_packed(value, fits):
    assert (pack_float16(np.array([1.0, value])) is not None) == fits


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_packed(value):
    assert pack_float16(np.array([1.0, value])) is None
