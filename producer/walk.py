"""The audio files of a library folder."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

AUDIO_SUFFIXES = frozenset(
    b".mp3 .mp2 .flac .ogg .oga .opus .m4a .m4b .mp4 .aac .wav .aif .aiff .aifc .wma .wv .ape .alac .tta .ac3 .mka "
    b".webm .caf .au".split()
)
SYSTEM_FOLDERS = frozenset((b"@eaDir", b"$RECYCLE.BIN", b"System Volume Information", b"lost+found"))


@dataclass(frozen=True, slots=True)
class Found:
    """An audio file: its path relative to the library's root, as bytes, since names need not be UTF-8."""

    path: bytes
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A folder or file that could not be looked at."""

    path: bytes
    reason: str


def walk(root: Path, exclude: Sequence[str] = ()) -> Iterator[Found | Unreadable]:
    """The audio files below a folder, folder by folder, by name.

    Hidden and system files are left out, and what a glob of `exclude` matches, by its name or its relative path.
    Symbolic links are not followed: one that leads out of the library is not part of it, and what one inside leads to
    is found where it is. Raises OSError when the root cannot be read.
    """
    base = os.fsencode(root.resolve(strict=True))
    patterns = [os.fsencode(pattern) for pattern in exclude]
    os.scandir(base).close()
    folders = [b""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(base + b"/" + folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue  # deleted since it was listed
        except OSError as error:
            yield Unreadable(folder, error.strerror or str(error))
            continue
        below = []
        for entry in listed:
            path = folder + b"/" + entry.name if folder else entry.name
            if _is_left_out(entry.name, path, patterns):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append(path)
            elif entry.name[entry.name.rfind(b".") :].lower() in AUDIO_SUFFIXES:
                yield from _look_at(entry, path)
        folders.extend(reversed(below))


def _is_left_out(name: bytes, path: bytes, patterns: Sequence[bytes]) -> bool:
    if name.startswith(b".") or name in SYSTEM_FOLDERS:
        return True
    return any(fnmatchcase(name, pattern) or fnmatchcase(path, pattern) for pattern in patterns)


def _look_at(entry: os.DirEntry, path: bytes) -> Iterator[Found | Unreadable]:
    try:
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Unreadable(path, error.strerror or str(error))
        return
    if stat.S_ISREG(facts.st_mode):
        yield Found(path, facts.st_size, facts.st_mtime_ns)
