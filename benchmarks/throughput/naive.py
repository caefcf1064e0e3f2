"""The published pipeline, one track at a time, in float32: the whole file through librosa, matplotlib and PIL."""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.throughput import endtoend, library, product


def main(options: argparse.Namespace) -> None:
    """Measure with the windows that genremill takes, and with all of a track, and print."""
    library.do_without_av()
    from genremill.bench import naive
    from worker.models import checkpoints

    tracks = endtoend.files(options.folder / "tracks")[: options.tracks]
    warm_up = endtoend.files(options.folder / "warm-up")[0]
    model = checkpoints.load_model(product.with_weights(options.model), options.device, "off")
    print(f"{len(tracks)} tracks, {options.model} on {options.device}, {model.dtype}", flush=True)
    for what, analyse in (("three regions", naive.analyse), ("the whole track", analyse_whole)):
        per_s = rate(lambda track, analyse=analyse: analyse(model, options.device, track), tracks, warm_up)
        print(f"naive, {what}: {per_s:.3f} tracks/s", flush=True)


def rate(work: Callable[[Path], object], tracks: list[Path], warm_up: Path) -> float:
    """Tracks a second."""
    work(warm_up)
    began = time.perf_counter()
    for track in tracks:
        work(track)
    return len(tracks) / (time.perf_counter() - began)


def analyse_whole(model, device: str, path: Path) -> np.ndarray:
    """A track's probabilities (labels,), of all its windows as one batch, cut as published."""
    import librosa
    import torch

    from genremill.bench import naive

    waveform = naive.load_waveform(path, model.sample_rate)
    feature = naive.FEATURES.get(json.loads(model.features).get("kind"))
    with torch.inference_mode():
        if feature is None:
            whole = len(waveform) // model.window * model.window
            windows = torch.from_numpy(waveform[:whole].reshape(-1, model.window))
            return model.network(windows.to(device)).mean(0).cpu().numpy()
        decibels = librosa.power_to_db(naive.power(feature, waveform), ref=np.max)
        windowing = model.windowing("full")
        positions = [position for position in windowing.published_positions(len(waveform)) if not position.edge]
        starts = [(position.start + windowing.context) // windowing.hop for position in positions]
        frames = positions[0].frames
        pictures = np.stack([naive.draw(decibels[:, start : start + frames]) for start in starts])
        batch = torch.from_numpy(pictures * 2 - 1).to(device)
        return model.network.logits(batch).softmax(1).mean(0).cpu().numpy()
