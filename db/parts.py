"""Parts of libraries: a run concerns a library, or only what lies below a folder of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from db.paths import LAST_CHARACTER, path_text


class Part(NamedTuple):
    """A folder of a library."""

    library_id: int
    path: bytes = b""  # Relative to the root of the library. Empty: all of it.


def part_limits(path: bytes) -> tuple[str, str]:
    """Texts between which the paths of a part lie: those of the files below this folder of a library."""
    if not path:
        return "", LAST_CHARACTER
    return path_text(path) + "/", path_text(path) + "0"  # The character 0 follows the slash.


def is_in(path: bytes, folder: bytes) -> bool:
    """Whether the absolute path is this folder, or lies below it."""
    return (path + b"/").startswith(folder.rstrip(b"/") + b"/")


def relative(path: bytes, folder: bytes) -> bytes:
    """The path below this folder, in which it has to lie."""
    return path[len(folder) :].lstrip(b"/")


def join_paths(folder: bytes, path: bytes) -> bytes:
    """A path that is relative to a folder, with that folder before it. Both may be empty."""
    return b"/".join(name for name in (folder, path) if name)


def outermost(parts: Iterable[Part]) -> list[Part]:
    """The parts without those that lie in other ones, so that each track is in one of them at most."""
    kept: list[Part] = []
    for part in sorted(set(parts), key=lambda part: (part.library_id, len(part.path))):
        if not any(part.library_id == other.library_id and _lies_in(part.path, other.path) for other in kept):
            kept.append(part)
    return sorted(kept)


def _lies_in(path: bytes, folder: bytes) -> bool:
    return not folder or path.startswith(folder + b"/")
