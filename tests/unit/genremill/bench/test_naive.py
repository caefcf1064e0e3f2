"""The naive pipeline gives what the worker's pipeline gives."""

import numpy as np
import pytest
import torch

from genremill.bench import naive
from genremill.bench.pipeline import Pipeline
from genremill.bench.random_weights import load_random_model
from worker.models import checkpoints
from worker.windowing import Windowing

pytestmark = pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")  # of audioread's imports


def test_both_pipelines_agree_and_a_bad_file_costs_itself_alone(tracks, tmp_path):
    model = checkpoints.load_model(checkpoints.find_checkpoint("musicnn"), "cpu")
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"no audio")
    pipeline = Pipeline(model, "cpu")
    try:
        *results, failed = pipeline.analyse([*tracks, broken])
    finally:
        pipeline.close()
    assert failed is None
    for path, probabilities in zip(tracks, results, strict=True):
        assert np.abs(probabilities - naive.analyse(model, "cpu", path)).max() < 0.01


@torch.inference_mode()
def test_the_naive_pictures_are_those_that_the_network_sees():
    model = load_random_model("vit_b_16_mel", "cpu")
    windowing, generator = model.windowing(), np.random.default_rng(0)
    waveform = generator.normal(0, 0.1, 36 * model.sample_rate).astype(np.float32)
    drawn = naive.draw_pictures("mel", waveform, windowing)
    windows = torch.from_numpy(naive.cut_windows(waveform, windowing))
    lengths, peak = torch.full((3,), windowing.frames), float(naive.power("mel", waveform).max())
    seen = model.network.pictures(windows, lengths, torch.full((3,), peak)).numpy() / 2 + 0.5
    assert np.abs(seen - drawn).mean() < 1e-3


@pytest.mark.parametrize("windowing", [Windowing(16_000, 47_872), Windowing(22_050, 252_928 + 2048, hop=512)])
@pytest.mark.parametrize("seconds", [1, 7, 30, 36, 240])
def test_the_naive_windows_lie_within_the_track(windowing, seconds):
    samples = seconds * windowing.sample_rate
    positions = naive.list_positions(windowing, samples)
    assert 1 <= len(positions) <= 3 * windowing.region_windows
    assert len(positions) == 1 or all(samples - position.start >= windowing.needed(position) for position in positions)
    windows = naive.cut_windows(np.zeros(samples, np.float32), windowing)
    assert windows.shape == (len(positions), windowing.window)
