"""Pictures of windows against those of the published pipeline: librosa, matplotlib and PIL."""

import io

import librosa
import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from genremill.bench import naive
from genremill.bench.random_weights import seeded_state
from tests.unit.worker.features.waveforms import SAMPLES, WAVEFORMS
from worker.features.picture import HEIGHT, MAGMA, SpectrogramImage, choose_cells, decibels, first_frames
from worker.models import checkpoints
from worker.models.networks import vgg, vit

PICTURES = 20


def test_the_colours_are_matplotlibs():
    assert (MAGMA.numpy() == (matplotlib.colormaps["magma"](range(256))[:, :3] * 255).round()).all()


def test_decibels_end_80_below_the_reference():
    power = torch.tensor([[[1.0, 0.1, 1e-9, 0.0]], [[2.0, 0.2, 2e-7, 2e-9]]])
    expected = torch.tensor([[[0.0, -10.0, -80.0, -80.0]], [[0.0, -10.0, -70.0, -80.0]]])
    assert torch.allclose(decibels(power, torch.tensor([1.0, 2.0])), expected, atol=1e-4)


def test_power_below_librosas_least_power_counts_as_that():
    power = np.array([[[1e-12, 1e-11, 1e-9]]], np.float32)
    found = decibels(torch.from_numpy(power), torch.tensor([1e-15]))
    assert np.allclose(found.numpy(), librosa.power_to_db(power, ref=1e-15), atol=1e-4)


def test_frames_that_do_not_count_are_replaced_by_the_first():
    values = torch.arange(8.0).view(2, 1, 4)
    assert first_frames(values, torch.tensor([4, 2])).tolist() == [[[0, 1, 2, 3]], [[4, 5, 4, 4]]]


@pytest.mark.parametrize("bins", [84, 128])
def test_each_row_shows_the_cell_that_matplotlib_draws_there(bins):
    stripes = np.repeat((np.arange(bins) % 2)[:, None] * 1.0, 490, 1)
    figure = matplotlib.pyplot.figure()
    librosa.display.specshow(stripes)
    matplotlib.pyplot.axis("off")
    file = io.BytesIO()
    matplotlib.pyplot.savefig(file, format="png", bbox_inches="tight", pad_inches=0.0)
    matplotlib.pyplot.close(figure)
    drawn = np.asarray(Image.open(file).convert("L"))[:, 248] > 128
    assert len(drawn) == HEIGHT
    assert (drawn == (stripes[::-1][choose_cells(bins).numpy(), 0] > 0.5)).all()


@pytest.fixture(scope="module")
def windows():
    """Decibels of PICTURES windows of each feature, of 490 and 491 frames, as librosa gives them."""
    waves = [wave for wave in WAVEFORMS.values() if len(wave) >= SAMPLES]
    mixed = [
        0.6 * waves[i % len(waves)] + 0.4 * np.roll(waves[(i * 3 + 1) % len(waves)], 7919 * i) for i in range(PICTURES)
    ]
    return {
        feature: [
            librosa.power_to_db(naive.power(feature, wave), ref=np.max)[:, : 490 + i % 2]
            for i, wave in enumerate(mixed)
        ]
        for feature in ("mel", "cqt")
    }


@pytest.mark.parametrize(("feature", "module"), [("mel", vit), ("cqt", vgg)])
@torch.inference_mode()
def test_pictures_and_top_genres_are_those_of_the_published_pipeline(windows, feature, module):
    expected = np.stack([naive.draw(window) for window in windows[feature]])
    values = torch.from_numpy(np.stack([np.pad(w, ((0, 0), (0, 491 - w.shape[1]))) for w in windows[feature]]))
    lengths = torch.tensor([window.shape[1] for window in windows[feature]])
    found = SpectrogramImage(values.shape[1])(first_frames(values, lengths), lengths).numpy()
    assert len(found) == PICTURES
    assert np.abs(found - expected).mean((1, 2, 3)).max() < 1e-4
    network = checkpoints.build_with_weights(module, seeded_state(module))
    theirs, ours = (
        torch.cat([network.logits(batch) for batch in torch.from_numpy(pictures * 2 - 1).split(5)])
        for pictures in (expected, found)
    )
    bias = theirs.mean(0)  # Without it, one genre would be first in all pictures.
    assert len((theirs - bias).argmax(1).unique()) >= 6
    assert ((theirs - bias).argmax(1) == (ours - bias).argmax(1)).all()


def test_a_window_without_contrast_is_the_darkest_colour():
    found = SpectrogramImage(84)(torch.zeros(1, 84, 490), torch.tensor([490]))[0].numpy()
    assert np.abs(found - naive.draw(np.zeros((84, 490)))).max() < 0.01
