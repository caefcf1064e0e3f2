"""What a user asks for, and its checks."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from settings import GenremillError
from worker.models.checkpoints import Checkpoint


@dataclass(frozen=True)
class Order:
    """What a user asks for: these folders with this model."""

    roots: tuple[Path, ...]
    checkpoint: Checkpoint
    coverage: str
    exclude: tuple[str, ...] = ()
    most_tracks: int = 64  # in a job
    queue: str | None = None  # None: fast for small orders, bulk for others
    retry: bool = False  # what failed before, too


def check_roots(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The folders, absolute, without those inside another one. Raises GenremillError for one that is not there."""
    roots = []
    for path in paths:
        if not path.exists():
            raise GenremillError(f"{path} does not exist: give a folder of music")
        if not path.is_dir():
            raise GenremillError(f"{path} is not a folder: give the folder it is in")
        roots.append(path.resolve())
    return tuple(dict.fromkeys(root for root in roots if not any(other in root.parents for other in roots)))
