"""The main job against the naive pipeline and against its own limit: python -m benchmarks.throughput.main_job [FOLDER]

60 tracks of 4 minutes (MP3, FLAC, OGG, M4A; composed into FOLDER on first use), three regions a track, musicnn:

naive   one process: librosa.load of the whole file, the same windows, the same model, one track at a time
limit   cores / (CPU seconds a track of decoding + of features and model), each measured alone, in one thread
ours    scan, jobs, Redis, a Celery worker, decode processes, engine, SQLite; the worker is up and has its model

Nothing else should run on the machine.
"""

import os

os.environ.setdefault("GENREMILL_DATA_DIR", "/tmp/genremill-benchmark")

import argparse
import platform
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

import settings
from db.session import connect
from genremill.bench import naive
from genremill.local_stack import Stack, free_port
from genremill.sample.long_track import compose_long
from producer import enqueue
from producer.follow import follow
from producer.order import Order
from worker.decode.windows import read_windows
from worker.inference.batch import PCM_SCALE
from worker.inference.engine import CPU_BATCH
from worker.models import checkpoints
from worker.windowing import Windowing

TRACKS = 60
SUFFIXES = (".mp3", ".flac", ".ogg", ".m4a")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("/tmp/genremill-benchmark-tracks"))
    parser.add_argument("--repeat", type=int, default=3, help="runs of ours; the middle one counts")
    options = parser.parse_args()
    tracks = compose_tracks(options.folder / "tracks")
    compose_tracks(options.folder / "warm-up", first=TRACKS, count=len(SUFFIXES))
    cores = settings.load().usable_cores
    print(f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, torch {torch.__version__}")

    decode_s, windows = measure_decoding(tracks)
    model_s = measure_model(windows)
    limit = cores / (decode_s + model_s)
    print(f"decoding {decode_s * 1e3:.1f} ms, features and model {model_s * 1e3:.1f} ms of CPU a track, alone")
    print(f"limit    {limit:.2f} tracks/s on {cores} cores")
    rates = sorted(measure_ours(options.folder, options.repeat))
    ours = rates[len(rates) // 2]
    print(f"ours     {ours:.2f} tracks/s (of {', '.join(f'{rate:.2f}' for rate in rates)})")
    theirs = measure_naive(tracks)
    print(f"naive    {theirs:.2f} tracks/s")
    print(f"ours / naive = {ours / theirs:.1f} (at least 7 is wanted)")
    print(f"ours / limit = {ours / limit:.2f} (at least 0.80 is wanted)")


def compose_tracks(folder: Path, first: int = 0, count: int = TRACKS) -> list[Path]:
    """The tracks, composed where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    tracks = [folder / f"{seed:03}{SUFFIXES[seed % len(SUFFIXES)]}" for seed in range(first, first + count)]
    missing = [track for track in tracks if not track.exists()]
    if missing:
        print(f"composing {len(missing)} tracks of 4 minutes", flush=True)
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
            list(pool.map(_compose, missing))
    return tracks


def _compose(track: Path) -> None:
    partial = track.with_name(f".{track.name}")
    compose_long(partial, seed=int(track.stem))
    partial.rename(track)


def the_cut() -> Windowing:
    """What musicnn reads of a track."""
    return _model().windowing()


def _model() -> checkpoints.Model:
    return checkpoints.load_model(checkpoints.find_checkpoint("musicnn"), "cpu")


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure_decoding(tracks: list[Path]) -> tuple[float, list[np.ndarray]]:
    """CPU seconds a track from file to windows, and the windows."""
    windowing, windows = the_cut(), []
    for track in tracks[: len(SUFFIXES)]:  # the imports of the decoders
        list(read_windows(os.fsencode(track), windowing, 16))
    spent_s = cpu_s(
        lambda: windows.extend(
            np.concatenate([block.pcm for block in read_windows(os.fsencode(t), windowing, 16)]) for t in tracks
        )
    )
    return spent_s / len(tracks), windows


def measure_model(windows: list[np.ndarray]) -> float:
    """CPU seconds a track from windows to probabilities, in one thread and the engine's batches."""
    torch.set_num_threads(1)
    network = _model().network
    with torch.inference_mode():
        for pcm in windows[:3]:
            network(torch.from_numpy(pcm).float() * PCM_SCALE)
        spent_s = cpu_s(lambda: [_forward(network, pcm) for pcm in windows])
    return spent_s / len(windows)


def _forward(network: torch.nn.Module, pcm: np.ndarray) -> None:
    for batch in torch.from_numpy(pcm).split(CPU_BATCH):
        network(batch.float() * PCM_SCALE)


def measure_naive(tracks: list[Path]) -> float:
    """Tracks a second, one after the other, with torch's own number of threads."""
    torch.set_num_threads(settings.load().usable_cores)
    model = _model()
    naive.analyse(model, "cpu", tracks[0])
    began = time.perf_counter()
    for track in tracks:
        naive.analyse(model, "cpu", track)
    return len(tracks) / (time.perf_counter() - began)


def measure_ours(folder: Path, repeat: int) -> list[float]:
    """Tracks a second from the order to the last score, `repeat` times on an empty database each."""
    config = settings.load()
    rates = []
    for _ in range(repeat):
        shutil.rmtree(config.data_dir, ignore_errors=True)
        database = connect(config.database)
        stack = Stack(config, free_port("127.0.0.1", 5555), config.data_dir / "logs")
        try:
            stack.start()
            _run(database, folder / "warm-up")
            time.sleep(2)  # Flower is up by then
            began = time.perf_counter()
            _run(database, folder / "tracks")
            rates.append(TRACKS / (time.perf_counter() - began))
        finally:
            stack.stop()
            database.close()
    return rates


def _run(database, root: Path) -> None:
    order = Order((root,), checkpoints.find_checkpoint("musicnn"), "regions")
    run_id = enqueue.enqueue(database, order)
    for counts in follow(database, run_id, order, look_s=0.05):  # noqa: B007
        pass
    assert counts.balanced and counts.failed == 0, counts


if __name__ == "__main__":
    main()
