"""How fast is the published pipeline: python -m benchmarks naive FOLDER --model MODEL [--tracks N]

FOLDER is what `python -m benchmarks library` made. librosa loads each file whole, matplotlib and PIL draw its pictures,
and the network computes in float32, one track after the other. It is measured twice: with the windows that genremill
takes of a track, and with all windows of it, as published.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
import torch

from benchmarks.throughput import product
from benchmarks.timing import items_per_s
from benchmarks.tracks import list_tracks, list_warm_up
from genremill.bench import naive
from worker.models import checkpoints
from worker.models.checkpoints import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    parser.add_argument("folder", type=Path, help="what the part `library` made")
    parser.add_argument("--model", required=True)
    parser.add_argument("--tracks", type=int, default=8, help="how many (default: 8)")
    parser.add_argument("--device", default="cuda:0")


def main(options: argparse.Namespace) -> None:
    """Measure both ways and print."""
    tracks, warm_up = list_tracks(options.folder)[: options.tracks], list_warm_up(options.folder)[0]
    model = checkpoints.load_model(product.find_or_seed_weights(options.model), options.device, "off")
    print(f"{len(tracks)} tracks, {options.model} on {options.device}, {model.dtype}", flush=True)
    for windows, analyse in (("three regions", naive.analyse), ("the whole track", analyse_whole)):
        rate = tracks_per_s(lambda track, analyse=analyse: analyse(model, options.device, track), tracks, warm_up)
        print(f"naive, {windows}: {rate:.3f} tracks/s", flush=True)


def tracks_per_s(analyse: Callable[[Path], object], tracks: list[Path], warm_up: Path) -> float:
    """Tracks a second, after another track to warm up with."""
    analyse(warm_up)
    return items_per_s(lambda: [analyse(track) for track in tracks], len(tracks))


def analyse_whole(model: Model, device: str, path: Path) -> npt.NDArray[np.float32]:
    """A track's probabilities, float32 (labels,), of all its windows as one batch, cut as published."""
    waveform = naive.load_waveform(path, model.sample_rate)
    feature = naive.SPECTROGRAMS.get(json.loads(model.features).get("kind"))
    with torch.inference_mode():
        if feature is None:
            whole = len(waveform) // model.window * model.window
            windows = torch.from_numpy(waveform[:whole].reshape(-1, model.window))
            return model.network(windows.to(device)).mean(0).cpu().numpy()
        decibels = librosa.power_to_db(naive.power(feature, waveform), ref=np.max)
        windowing = model.windowing("full")
        positions = [position for position in windowing.published_positions(len(waveform)) if not position.cut.edge]
        starts = [(position.start + windowing.context) // windowing.hop for position in positions]
        frames = positions[0].cut.frames
        pictures = np.stack([naive.draw(decibels[:, start : start + frames]) for start in starts])
        batch = torch.from_numpy(pictures * 2 - 1).to(device)
        return model.network.logits(batch).softmax(1).mean(0).cpu().numpy()
