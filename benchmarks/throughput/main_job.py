"""How fast is a run on a CPU, beside librosa and beside its own limit: python -m benchmarks main-job [FOLDER]

60 tracks of 4 minutes (MP3, FLAC, OGG and M4A; composed into FOLDER where they are missing) are analysed with the model
musicnn, three regions of each. Three rates are measured and compared:

naive   one process loads whole files with librosa and predicts the same windows with the same model, one after another
limit   cores / (CPU seconds a track of decoding + of features and model), each measured alone in one thread
ours    scan, jobs, Redis, a Celery worker, decode processes, engine, SQLite; the worker is up and has its model
"""

import argparse
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

import settings
from benchmarks.throughput import product
from benchmarks.timing import cpu_s, items_per_s
from genremill.bench import naive
from genremill.sample.long_track import write_long_track
from worker.decode.windows import read_windows
from worker.inference.batch import PCM_SCALE
from worker.inference.engine import CPU_BATCH
from worker.models import checkpoints
from worker.models.checkpoints import Model

MODEL = "musicnn"
SUFFIXES = (".mp3", ".flac", ".ogg", ".m4a")
BLOCK_WINDOWS = 16  # How many windows the decoder returns at a time.
WARM_UP_TRACKS = 3  # How many tracks the model predicts before it is measured.
GOAL_NAIVE, GOAL_LIMIT = 7, 0.80  # The ratios that a run should reach at the least.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    default = Path("/tmp/genremill-benchmark-tracks")
    parser.add_argument("folder", nargs="?", type=Path, default=default, help=f"of the tracks (default: {default})")
    parser.add_argument("--tracks", type=int, default=60, help="how many (default: 60)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of ours, whose median counts (default: 3)")
    parser.set_defaults(device="cpu")


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    folder, count = options.folder, options.tracks
    tracks = compose_tracks(folder / f"{count}-tracks", 0, count)
    compose_tracks(folder / f"{count}-warm-up", count, len(SUFFIXES))
    cores = settings.load().usable_cores

    decode_s, windows = measure_decoding(tracks)
    model_s = measure_model(windows)
    limit = cores / (decode_s + model_s)
    print(f"decoding {decode_s * 1e3:.1f} ms, features and model {model_s * 1e3:.1f} ms of CPU a track, alone")
    print(f"limit    {limit:.2f} tracks/s on {cores} cores", flush=True)
    rates = [measure_product(folder / f"{count}-tracks", folder / f"{count}-warm-up") for _ in range(options.repeat)]
    ours = statistics.median(rates)
    print(f"ours     {ours:.2f} tracks/s (of {', '.join(f'{rate:.2f}' for rate in sorted(rates))})", flush=True)
    naive_rate = measure_naive(tracks)
    print(f"naive    {naive_rate:.2f} tracks/s")
    print(f"ours / naive = {ours / naive_rate:.1f} (goal: at least {GOAL_NAIVE})")
    print(f"ours / limit = {ours / limit:.2f} (goal: at least {GOAL_LIMIT:.2f})")


def compose_tracks(folder: Path, first_seed: int, count: int) -> list[Path]:
    """The paths of tracks of 4 minutes, which are composed where they are missing."""
    seeds = range(first_seed, first_seed + count)
    tracks = [folder / f"{seed:03}{SUFFIXES[seed % len(SUFFIXES)]}" for seed in seeds]
    missing = [track for track in tracks if not track.exists()]
    if missing:
        print(f"composing {len(missing)} tracks of 4 minutes", flush=True)
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
            list(pool.map(write_long_track, missing, [int(track.stem) for track in missing]))
    return tracks


def load_model() -> Model:
    """The model in float32 on the CPU."""
    return checkpoints.load_model(checkpoints.find_checkpoint(MODEL), "cpu")


def measure_decoding(tracks: list[Path]) -> tuple[float, list[np.ndarray]]:
    """CPU seconds a track from file to windows, and each track's windows, int16 (windows, samples)."""
    windowing = load_model().windowing()

    def decode(track: Path) -> np.ndarray:
        return np.concatenate([block.pcm for block in read_windows(os.fsencode(track), windowing, BLOCK_WINDOWS)])

    for track in tracks[: len(SUFFIXES)]:  # The first file of each format imports its decoder.
        decode(track)
    windows: list[np.ndarray] = []
    spent_s = cpu_s(lambda: windows.extend(map(decode, tracks)))
    return spent_s / len(tracks), windows


def measure_model(windows: list[np.ndarray]) -> float:
    """CPU seconds a track from windows to probabilities, in one thread and in batches of the engine's size."""
    torch.set_num_threads(1)
    network = load_model().network

    def predict(tracks: list[np.ndarray]) -> None:
        for pcm in tracks:
            for batch in torch.from_numpy(pcm).split(CPU_BATCH):
                network(batch.float() * PCM_SCALE)

    with torch.inference_mode():
        predict(windows[:WARM_UP_TRACKS])
        return cpu_s(lambda: predict(windows)) / len(windows)


def measure_product(root: Path, warm_up: Path) -> float:
    """Tracks a second of the product on an empty database, from the order to the end of the run."""
    checkpoint = checkpoints.find_checkpoint(MODEL)
    with product.running() as (stack, database):
        product.warm_up(stack, database, warm_up, checkpoint)
        run = product.measure(stack, database, root, checkpoint)
    return run.tracks / run.wall_s


def measure_naive(tracks: list[Path]) -> float:
    """Tracks a second of the naive pipeline, whose network may use all cores."""
    torch.set_num_threads(settings.load().usable_cores)
    model = load_model()

    def analyse(paths: list[Path]) -> None:
        for path in paths:
            naive.analyse(model, "cpu", path)

    analyse(tracks[:1])
    return items_per_s(lambda: analyse(tracks), len(tracks))
