"""What a user asks for, and whether it can be done."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from settings import GenremillError
from worker.models.checkpoints import Checkpoint


@dataclass(frozen=True)
class Order:
    """What a user asks for: to analyse these folders with this model."""

    roots: tuple[Path, ...]  # As check_roots gives them.
    checkpoint: Checkpoint  # The model's weights.
    coverage: str  # "regions" or "full".
    exclude: tuple[str, ...] = ()  # Globs of names and relative paths to leave out.
    job_tracks: int = 64  # The number of tracks in a job, at most.
    queue: str | None = None  # None: "fast" for a small order, "bulk" for others.
    retry: bool = False  # Whether tracks that failed before are analysed again.
    gone: tuple[Path, ...] = ()  # Folders that are not there. They have to be roots of libraries.


def split_gone(paths: Iterable[Path]) -> tuple[list[Path], tuple[Path, ...]]:
    """The paths that are there, and those that are not. If none is there, all are among the first, to be refused."""
    given = list(paths)
    there = [path for path in given if path.exists()]
    return (there, tuple(path for path in given if path not in there)) if there else (given, ())


def check_roots(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The folders as absolute paths, each once, without folders that lie in another one of them.

    Symbolic links are resolved. Raises GenremillError for a path that is not there or is not a folder.
    """
    roots: list[Path] = []
    for path in paths:
        if not path.exists():
            raise GenremillError(f"{path} does not exist: give a folder of music")
        if not path.is_dir():
            raise GenremillError(f"{path} is not a folder: give the folder it is in")
        roots.append(path.resolve())
    outermost = [root for root in roots if not any(other in root.parents for other in roots)]
    return tuple(dict.fromkeys(outermost))
