"""How exactly regions are found in a file: compared with the same reader's decoding of the whole file."""

import os
from pathlib import Path

import numpy as np
import torch
from scipy.signal import correlate

from benchmarks.decoding import reference_decoders
from worker.decode.audio_file import AudioFile
from worker.decode.windows import read_windows
from worker.inference.batch import PCM_SCALE
from worker.models import checkpoints
from worker.windowing import Windowing

MAX_LAG = 5_000  # Frames around its place in which a region is looked for.
REPORTED_RATE = 44_100  # Hz, at which displacements are given.
MIN_ENERGY = 1e-12  # Below it a region counts as silent.


def describe_seek_error(path: Path, windowing: Windowing) -> str:
    """The largest displacement of the three regions, and their least correlation with the whole file."""
    with AudioFile(os.fsencode(path), windowing.max_frequency_hz) as track:
        whole, rate, name = np.concatenate(list(track.reader.blocks(0, None))), track.reader.rate, track.reader.name
    found = []
    for start_s, stop_s in reference_decoders.find_regions(len(whole) / rate):
        start, stop = round(start_s * rate), round(stop_s * rate)
        with AudioFile(os.fsencode(path), windowing.max_frequency_hz) as track:
            region = np.concatenate(list(track.reader.blocks(start, stop)))
        found.append(find_displacement(region, whole[start - MAX_LAG : stop + MAX_LAG]))
    frames, correlation = max((lag for lag, _ in found), key=abs), min(correlation for _, correlation in found)
    samples = frames * REPORTED_RATE / rate
    return f"{name} at {rate} Hz, seek error {samples:.0f}, correlation {correlation:.6f}"


def find_displacement(region: np.ndarray, surroundings: np.ndarray) -> tuple[int, float]:
    """How many frames behind its place a region (frames,) lies, and its normalised correlation there.

    surroundings: what the whole file has at the region's place, and MAX_LAG frames on both sides of it.
    """
    region, surroundings = region.astype(float), surroundings.astype(float)
    products = correlate(surroundings, region, mode="valid", method="fft")
    energies = np.cumsum(np.concatenate([[0.0], surroundings**2]))
    energies = energies[len(region) :] - energies[: -len(region)]
    correlation = products / np.sqrt(np.maximum(energies * (region @ region), MIN_ENERGY))
    best = int(np.argmax(correlation))
    return best - MAX_LAG, float(correlation[best])


def find_mean_error(path: Path) -> float:
    """The greatest difference in musicnn's mean probabilities that seeking, and decoding at half the rate, make."""
    model = checkpoints.load_model(checkpoints.find_checkpoint("musicnn"), "cpu")
    windowing = model.windowing()
    with AudioFile(os.fsencode(path), float("inf")) as track:
        whole = np.concatenate(list(track.samples(windowing.sample_rate, 0)))
        total = track.length(windowing.sample_rate)
    starts = [position.start for positions in windowing.regions(total) for position in positions]
    expected = np.stack([whole[start : start + windowing.window] for start in starts])
    blocks = read_windows(os.fsencode(path), windowing, len(starts))
    found = np.concatenate([block.pcm for block in blocks]).astype(np.float32) * PCM_SCALE
    with torch.inference_mode():
        means = [model.network(torch.from_numpy(windows)).mean(0) for windows in (expected, found)]
    return float((means[0] - means[1]).abs().max())
