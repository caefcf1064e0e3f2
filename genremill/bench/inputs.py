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


def audio_files(folder: Path, most: int) -> list[Path]:
    """The first audio files of a folder. Raises GenremillError when there are none."""
    from producer.walk import Found, walk

    try:
        found = [folder / os.fsdecode(item.path) for item in walk(folder) if isinstance(item, Found)]
    except OSError as error:
        raise GenremillError(f"{folder} cannot be read: {error.strerror}") from error
    if not found:
        raise GenremillError(f"{folder} has no audio files: name another folder, or none")
    return found[:most]


def compose(folder: Path, count: int, seconds: float) -> list[Path]:
    """So many MP3 files of this length, composed where they are missing."""
    from genremill.sample.long_track import compose_long

    paths = [folder / f"{seconds:g}s" / f"{seed:03}.mp3" for seed in range(count)]
    missing = {seed: path for seed, path in enumerate(paths) if not path.exists()}
    if missing:
        console.say(f"composing {len(missing)} files of {seconds:g} s in {folder}")
        workers, ignored = settings.load().usable_cores, (signal.SIGINT, signal.SIG_IGN)
        with ProcessPoolExecutor(workers, get_context("spawn"), signal.signal, ignored) as pool:
            list(pool.map(compose_long, missing.values(), missing, repeat(seconds)))
    return paths
