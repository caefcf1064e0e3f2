"""The published way from a file to its genres, with librosa, matplotlib and PIL: the reference of the networks' input,
and what `genremill bench` compares with."""

import io
import itertools
import json
import shutil
from pathlib import Path

import av
import librosa
import matplotlib
import numpy as np
import torch
from PIL import Image

from worker.models.checkpoints import Model
from worker.windowing import REGIONS, Windowing, WindowPosition

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SAMPLE_RATE = 22_050  # Hz, of the pictures
FEATURES = {"picture of log-mel": "mel", "picture of constant-Q": "cqt"}  # a model's kind of features -> power()'s


def analyse(model: Model, device: str, path: Path) -> np.ndarray:
    """A track's probabilities (labels,), of the windows that genremill takes of it: all of the file is loaded, the
    spectrogram is the whole track's, and the windows are one batch."""
    waveform = load_waveform(path, model.sample_rate)
    windowing = model.windowing()
    feature = FEATURES.get(json.loads(model.features).get("kind"))
    with torch.inference_mode():
        if feature:
            batch = torch.from_numpy(pictures(feature, waveform, windowing) * 2 - 1).to(device)
            results = model.network.logits(batch).softmax(1)
        else:
            results = model.network(torch.from_numpy(windows(waveform, windowing)).to(device))
        return results.mean(0).cpu().numpy()


def load_waveform(path: Path, sample_rate: int) -> np.ndarray:
    """librosa.load: (samples,) float32. Of M4A, which librosa opens only where the ffmpeg program is, PyAV's whole
    file."""
    if path.suffix != ".m4a" or shutil.which("ffmpeg"):
        return librosa.load(path, sr=sample_rate)[0]
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        pcm = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    return librosa.resample(pcm.mean(0), orig_sr=rate, target_sr=sample_rate)


def positions(windowing: Windowing, samples: int) -> list[WindowPosition]:
    """Where the windows of a track of so many samples lie: at least one, should it be too short for it."""
    regions = list(itertools.chain(*windowing.regions(samples)))
    if regions:
        return regions
    first, *others = itertools.islice(windowing.contiguous(), REGIONS * windowing.region_windows)
    return [first, *(position for position in others if samples - position.start >= windowing.needed(position))]


def windows(waveform: np.ndarray, windowing: Windowing) -> np.ndarray:
    """The windows of a waveform (samples,): (windows, cut.window), with zeros around the track."""
    padded = np.pad(waveform, (windowing.context, windowing.window))
    starts = [position.start + windowing.context for position in positions(windowing, len(waveform))]
    return np.stack([padded[start : start + windowing.window] for start in starts])


def pictures(feature: str, waveform: np.ndarray, windowing: Windowing) -> np.ndarray:
    """The pictures of the windows of a waveform (samples,): float32 (windows, 3, 224, 224) in [0, 1]."""
    decibels = librosa.power_to_db(power(feature, waveform), ref=np.max)
    starts = [(position.start + windowing.context) // windowing.hop for position in positions(windowing, len(waveform))]
    return np.stack([draw(decibels[:, start : start + windowing.frames]) for start in starts])


def power(feature: str, waveform: np.ndarray) -> np.ndarray:
    """The power spectrogram, "mel" or "cqt", of a waveform (samples,): (bins, frames)."""
    if feature == "mel":
        return librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE)
    return np.abs(librosa.cqt(waveform, sr=SAMPLE_RATE)) ** 2


def draw(decibels: np.ndarray) -> np.ndarray:
    """The picture of a window (bins, frames): float32 (3, 224, 224) in [0, 1]."""
    figure = plt.figure()
    librosa.display.specshow(decibels)
    plt.axis("off")
    file = io.BytesIO()
    plt.savefig(file, format="jpg", bbox_inches="tight", pad_inches=0.0)
    plt.close(figure)
    picture = Image.open(file).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    return np.asarray(picture, np.float32).transpose(2, 0, 1) / 255
