"""The published way from a file to its genres, with librosa, matplotlib and PIL.

`genremill bench` compares with it, and tests take it as the reference of what the networks' input has to be.
"""

import io
import itertools
import json
import shutil
from pathlib import Path
from typing import Protocol, cast

import av
import librosa
import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from worker.models.checkpoints import Model
from worker.windowing import REGIONS, Windowing, WindowPosition

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Samples = npt.NDArray[np.float32]

SAMPLE_RATE_HZ = 22_050  # Of the audio that the pictures are made from.
PICTURE_PIXELS = 224  # The width and the height of a picture.
SPECTROGRAMS = {"picture of log-mel": "mel", "picture of constant-Q": "cqt"}  # A model's kind of features -> power()'s.


class PictureNetwork(Protocol):
    """A network that looks at pictures: worker.models.networks.vit and vgg build such ones."""

    def logits(self, pictures: Tensor) -> Tensor:
        """The scores (windows, labels) of pictures (windows, 3, PICTURE_PIXELS, PICTURE_PIXELS) in [-1, 1]."""


def analyse(model: Model, device: str, path: Path) -> Samples:
    """A track's probabilities (labels,), of the windows that genremill takes of it.

    All of the file is loaded, the spectrogram is that of the whole track, and the windows are one batch.
    """
    waveform = load_waveform(path, model.sample_rate)
    windowing = model.windowing()
    spectrogram = SPECTROGRAMS.get(json.loads(model.features).get("kind"))
    with torch.inference_mode():
        if spectrogram:
            pictures = torch.from_numpy(draw_pictures(spectrogram, waveform, windowing) * 2 - 1).to(device)
            probabilities = cast(PictureNetwork, model.network).logits(pictures).softmax(1)
        else:
            probabilities = model.network(torch.from_numpy(cut_windows(waveform, windowing)).to(device))
        mean: Samples = probabilities.mean(0).cpu().numpy()
        return mean


def load_waveform(path: Path, sample_rate: int) -> Samples:
    """All samples of a file (samples,) at this rate in Hz, mono, by librosa.load.

    librosa opens M4A only where the ffmpeg program is installed. Elsewhere PyAV decodes the file.
    """
    waveform: Samples
    if path.suffix != ".m4a" or shutil.which("ffmpeg"):
        waveform, _ = librosa.load(path, sr=sample_rate)
        return waveform
    with av.open(str(path)) as container:
        file_rate = container.streams.audio[0].rate
        pcm = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    waveform = librosa.resample(pcm.mean(0), orig_sr=file_rate, target_sr=sample_rate)
    return waveform


def list_positions(windowing: Windowing, samples: int) -> list[WindowPosition]:
    """Where the windows of a track of so many samples lie. A track that is shorter than a window has one, too."""
    regions = list(itertools.chain(*windowing.regions(samples)))
    if regions:
        return regions
    first, *others = itertools.islice(windowing.contiguous(), REGIONS * windowing.region_windows)
    return [first, *(position for position in others if samples - position.start >= windowing.needed(position))]


def cut_windows(waveform: Samples, windowing: Windowing) -> Samples:
    """The windows (windows, windowing.window) of a waveform (samples,), with zeros around the track."""
    padded = np.pad(waveform, (windowing.context, windowing.window))
    starts = [position.start + windowing.context for position in list_positions(windowing, len(waveform))]
    return np.stack([padded[start : start + windowing.window] for start in starts])


def draw_pictures(spectrogram: str, waveform: Samples, windowing: Windowing) -> Samples:
    """The pictures of the windows of a waveform (samples,): (windows, 3, PICTURE_PIXELS, PICTURE_PIXELS) in [0, 1].

    `spectrogram` is "mel" or "cqt".
    """
    decibels = librosa.power_to_db(power(spectrogram, waveform), ref=np.max)
    positions = list_positions(windowing, len(waveform))
    starts = [(position.start + windowing.context) // windowing.hop for position in positions]
    return np.stack([draw(decibels[:, start : start + windowing.frames]) for start in starts])


def power(spectrogram: str, waveform: Samples) -> Samples:
    """The power spectrogram (bins, frames) of a waveform (samples,) at SAMPLE_RATE_HZ: "mel" or "cqt"."""
    values: Samples
    if spectrogram == "mel":
        values = librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE_HZ)
    else:
        values = np.abs(librosa.cqt(waveform, sr=SAMPLE_RATE_HZ)) ** 2
    return values


def draw(decibels: Samples) -> Samples:
    """The picture of a window's spectrogram (bins, frames): (3, PICTURE_PIXELS, PICTURE_PIXELS) in [0, 1]."""
    figure = plt.figure()
    librosa.display.specshow(decibels)
    plt.axis("off")
    file = io.BytesIO()
    plt.savefig(file, format="jpg", bbox_inches="tight", pad_inches=0.0)
    plt.close(figure)
    size = (PICTURE_PIXELS, PICTURE_PIXELS)
    picture = Image.open(file).convert("RGB").resize(size, Image.Resampling.BILINEAR)
    return np.asarray(picture, np.float32).transpose(2, 0, 1) / np.float32(255)
