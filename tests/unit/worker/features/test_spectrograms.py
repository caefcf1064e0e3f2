"""Spectrograms and pictures of windows, against librosa, soxr and the published pipeline."""

import librosa
import matplotlib
import numpy as np
import pytest
import soxr
import torch

from genremill.bench import naive
from genremill.bench.random_weights import seeded_state
from tests.support.paths import DATA
from worker.features.constant_q import ConstantQPower
from worker.features.mel import MelPower
from worker.features.picture import MAGMA, SpectrogramImage, decibels, first_frames
from worker.features.resample import Resample
from worker.models import checkpoints
from worker.models.networks import vgg, vit

RATE = 22_050
SAMPLES = 252_000  # 11.4 s
REAL = DATA / "musicnn_reference.npz"
SPECTROGRAMS = {"mel": lambda: MelPower(RATE, 2048, 512, 128, "constant"), "cqt": ConstantQPower}
MOST_DB = {"mel": 0.005, "cqt": 0.05}
PICTURES = 20


def synthetic() -> dict[str, np.ndarray]:
    """Waveforms that are hard in different ways."""
    time, chance = np.arange(SAMPLES) / RATE, np.random.default_rng(1)
    noise = chance.normal(0, 0.2, SAMPLES)
    chord = sum(np.sin(2 * np.pi * hz * time) for hz in (41.2, 110, 277.18, 1318.5, 3951)) / 6
    return {
        "noise": noise,
        "chord": chord,
        "sweep": np.sin(2 * np.pi * 20 * np.expm1(time / time[-1] * 6) / 6 * time[-1]) * 0.8,
        "clicks": np.where(np.arange(SAMPLES) % 9001 == 0, 0.9, 0.0),
        "fading": (chord + noise * 0.1) * np.exp(-time),
        "clipped": np.clip(chord * 9, -1, 1),
        "quiet": np.rint((chord + noise) * 40) / 32_768,
    }


def real() -> dict[str, np.ndarray]:
    """Music: three seconds each."""
    with np.load(REAL) as file:
        clips = {name: file[name] / np.float32(32_768) for name in file if name.startswith("audio_")}
    return {name: soxr.resample(clip, 16_000, RATE, "HQ") for name, clip in clips.items()}


WAVEFORMS = {name: wave.astype(np.float32) for name, wave in {**synthetic(), **real()}.items()}


@pytest.mark.parametrize("name", WAVEFORMS)
@pytest.mark.parametrize("feature", SPECTROGRAMS)
def test_decibels_are_librosas(feature, name):
    waveform = WAVEFORMS[name]
    power = SPECTROGRAMS[feature]()(torch.from_numpy(waveform)[None])
    found = decibels(power, power.amax((1, 2)))[0].numpy()
    expected = librosa.power_to_db(naive.power(feature, waveform), ref=np.max)
    off = np.abs(found - expected)
    assert found.shape == expected.shape
    assert off[expected > -80].max() <= MOST_DB[feature]
    assert np.median(off) <= 0.001


def test_a_batch_gives_what_each_gives_alone():
    waveforms = torch.from_numpy(np.stack([WAVEFORMS["noise"], WAVEFORMS["sweep"]]))
    for make in SPECTROGRAMS.values():
        together = make()(waveforms)
        alone = torch.cat([make()(waveform[None]) for waveform in waveforms])
        assert (together - alone).abs().max() <= 1e-6 * alone.max()


@pytest.mark.parametrize("rate", [8_000, 16_000, 32_000, 44_100, 48_000, 96_000])
def test_resampling_is_soxrs(rate):
    waveform = np.random.default_rng(2).normal(0, 0.2, rate * 2 + 7).astype(np.float32)
    found = Resample(rate, RATE)(torch.from_numpy(waveform)[None])[0].numpy()
    expected = soxr.resample(waveform, rate, RATE, "HQ")
    inside = slice(500, len(expected) - 500)
    assert abs(len(found) - len(expected)) <= 1
    assert np.abs(found[inside] - expected[inside]).max() < 2e-6


def test_the_colours_are_matplotlibs():
    assert (MAGMA.numpy() == (matplotlib.colormaps["magma"](range(256))[:, :3] * 255).round()).all()


@pytest.fixture(scope="module")
def windows():
    """Decibels of 20 windows of each feature, of 490 and 491 frames, as librosa gives them."""
    waves = [wave for wave in WAVEFORMS.values() if len(wave) >= SAMPLES]
    mixed = [0.6 * waves[i % len(waves)] + 0.4 * np.roll(waves[(i * 3 + 1) % len(waves)], 7919 * i) for i in range(20)]
    return {
        feature: [
            librosa.power_to_db(naive.power(feature, wave), ref=np.max)[:, : 490 + i % 2]
            for i, wave in enumerate(mixed)
        ]
        for feature in SPECTROGRAMS
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
    bias = theirs.mean(0)  # under which no genre is always first
    assert len((theirs - bias).argmax(1).unique()) >= 6
    assert ((theirs - bias).argmax(1) == (ours - bias).argmax(1)).all()


def test_a_window_without_contrast_is_the_darkest_colour():
    found = SpectrogramImage(84)(torch.zeros(1, 84, 490), torch.tensor([490]))[0].numpy()
    assert np.abs(found - naive.draw(np.zeros((84, 490)))).max() < 0.01
