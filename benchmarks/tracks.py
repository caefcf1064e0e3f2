"""The folder of tracks that `python -m benchmarks library` makes, as the other parts read it.

FOLDER/tracks has the tracks that are measured, FOLDER/warm-up has some others to warm up with.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from settings import GenremillError


def list_tracks(folder: Path) -> list[Path]:
    """The tracks to measure, sorted by name. Raises GenremillError where there are none."""
    return list_files(folder / "tracks")


def list_warm_up(folder: Path) -> list[Path]:
    """The tracks to warm up with, sorted by name. Raises GenremillError where there are none."""
    return list_files(folder / "warm-up")


def list_files(folder: Path) -> list[Path]:
    """Everything in a folder, sorted by name. Raises GenremillError where there is nothing."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    if not paths:
        raise GenremillError(f"{folder} has no files: make some with `python -m benchmarks library`")
    return paths


def link_tracks(folder: Path, count: int, number: int = 0) -> Path:
    """A folder with `count` of the tracks, as hard links; different numbers give different tracks.

    Raises GenremillError where the folder has too few tracks.
    """
    tracks = list_tracks(folder)
    chosen = tracks[count * number : count * (number + 1)]
    if not 0 < count == len(chosen):
        raise GenremillError(f"{folder} has {len(tracks)} tracks, which are too few for {number + 1} times {count}")
    if count == len(tracks):
        return folder / "tracks"
    links = folder / f"{count}-{number}"
    if not links.exists():
        links.mkdir()
        for track in chosen:
            os.link(track, links / track.name)
    return links


def read_into_page_cache(tracks: Iterable[Path]) -> int:
    """Read the files once, so that storage does not matter afterwards. Returns how many bytes they have."""
    with ThreadPoolExecutor() as pool:
        return sum(pool.map(lambda track: len(track.read_bytes()), tracks))
