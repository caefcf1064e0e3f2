"""What the two published systems do, with librosa, matplotlib and PIL: the reference of the networks' input."""

import io

import librosa
import matplotlib
import numpy as np
from PIL import Image

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SAMPLE_RATE = 22_050  # Hz
WINDOW_S = 11.4


def power(feature: str, waveform: np.ndarray) -> np.ndarray:
    """The power spectrogram of a waveform (samples,): (bins, frames)."""
    if feature == "mel":
        return librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE)
    return np.abs(librosa.cqt(waveform, sr=SAMPLE_RATE)) ** 2


def cut(spectrogram: np.ndarray, samples: int) -> list[np.ndarray]:
    """The windows of a whole track's spectrogram (bins, frames), as the published code cuts them."""
    frames = spectrogram.shape[1]
    step = int(WINDOW_S * frames / (samples / SAMPLE_RATE))
    count = frames // step
    begin = (frames - count * step) // 2
    return [spectrogram[:, start : start + step] for start in range(begin, begin + count * step, step)]


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


def inputs(feature: str, waveform: np.ndarray) -> np.ndarray:
    """The networks' input for a whole track (samples,) at 22,050 Hz: float32 (windows, 3, 224, 224) in [-1, 1]."""
    decibels = librosa.power_to_db(power(feature, waveform), ref=np.max)
    return np.stack([(draw(window) - 0.5) / 0.5 for window in cut(decibels, len(waveform))])
