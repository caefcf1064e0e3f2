"""Files to measure with: composed ones, or those of a folder."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import settings
from genremill import console
from settings import GenremillError


def list_audio_files(folder: Path, max_files: int) -> list[Path]:
    """The first audio files of a folder and its subfolders. Raises GenremillError when there are none."""
    from producer.walk import Found, walk

    try:
        files = [folder / os.fsdecode(item.path) for item in walk(folder) if isinstance(item, Found)]
    except OSError as error:
        raise GenremillError(f"{folder} cannot be read: {error.strerror}") from error
    if not files:
        raise GenremillError(f"{folder} has no audio files: name another folder, or none")
    return files[:max_files]


def compose_files(folder: Path, count: int, seconds: float) -> list[Path]:
    """MP3 files of this length in a subfolder. Those that are missing are composed, on all cores."""
    from genremill.sample.long_track import write_long_track

    paths = [folder / f"{seconds:g}s" / f"{seed:03}.mp3" for seed in range(count)]
    missing = {seed: path for seed, path in enumerate(paths) if not path.exists()}
    if missing:
        console.say(f"composing {len(missing)} files of {seconds:g} s in {folder}")
        with ProcessPoolExecutor(
            settings.load().usable_cores,
            get_context("spawn"),  # Not "fork", because this process has threads.
            initializer=signal.signal,
            initargs=(signal.SIGINT, signal.SIG_IGN),  # A Ctrl-C ends this process, which ends the pool.
        ) as pool:
            list(pool.map(write_long_track, missing.values(), missing, repeat(seconds)))
    return paths
