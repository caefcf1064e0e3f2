"""The audio files of a library folder."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

# Files whose names end so may be audio. Whether they are, the worker finds out.
AUDIO_SUFFIXES = frozenset(
    b".mp3 .mp2 .flac .ogg .oga .opus .m4a .m4b .mp4 .aac .wav .aif .aiff .aifc .wma .wv .ape .alac .tta .ac3 .mka "
    b".webm .caf .au".split()
)
# Folders that file servers and operating systems make for themselves.
SYSTEM_FOLDERS = frozenset((b"@eaDir", b"$RECYCLE.BIN", b"System Volume Information", b"lost+found"))


@dataclass(frozen=True, slots=True)
class Found:
    """An audio file that a library has."""

    path: bytes  # Relative to the root of the library. It is bytes, since names need not be UTF-8.
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A folder that could not be listed, or a file that could not be looked at."""

    path: bytes  # Relative to the root of the library. Empty: the root itself.
    reason: str


def walk(root: Path, exclude: Sequence[str] = ()) -> Iterator[Found | Unreadable]:
    """The audio files in a folder and below it, in the order of their names.

    Hidden files and system folders are left out, and so is each file or folder whose name or relative path matches a
    glob of `exclude`. Symbolic links are not followed: what a link leads to is either found where it is, or it lies
    outside of the library. Raises OSError when the root cannot be read.
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
            continue  # It was deleted after its parent was listed.
        except OSError as error:
            yield Unreadable(folder, error.strerror or str(error))
            continue
        subfolders = []
        for entry in listed:
            path = folder + b"/" + entry.name if folder else entry.name
            if _is_left_out(entry.name, path, patterns):
                continue
            if entry.is_dir(follow_symlinks=False):
                subfolders.append(path)
            elif entry.name[entry.name.rfind(b".") :].lower() in AUDIO_SUFFIXES:
                yield from _look_at(entry, path)
        folders.extend(reversed(subfolders))


def _is_left_out(name: bytes, path: bytes, patterns: Sequence[bytes]) -> bool:
    if name.startswith(b".") or name in SYSTEM_FOLDERS:
        return True
    return any(fnmatchcase(name, pattern) or fnmatchcase(path, pattern) for pattern in patterns)


def _look_at(entry: os.DirEntry[bytes], path: bytes) -> Iterator[Found | Unreadable]:
    """The file of this entry, or why it cannot be looked at. Nothing for what is not a regular file, or is gone."""
    try:
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Unreadable(path, error.strerror or str(error))
        return
    if stat.S_ISREG(facts.st_mode):
        yield Found(path, facts.st_size, facts.st_mtime_ns)
