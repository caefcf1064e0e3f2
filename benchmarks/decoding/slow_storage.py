"""What does reading ahead bring on slow storage: python -m benchmarks slow-storage FOLDER [--wait-ms 20]

FOLDER, which has audio files, is mounted once more through FUSE, where every read and every opening of a file waits.
The rate of the decode processes there, with and without reading ahead, is compared with their rate on fast storage.
Needs Linux, `pip install mfusepy`, libfuse (FUSE_LIBRARY_PATH names it where it is not installed), and the right to
mount.
"""

import argparse
import contextlib
import multiprocessing
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.decoding.decode_pool import DecodeProcesses, windowing_of
from benchmarks.tracks import list_files
from settings import GenremillError
from worker.models.checkpoints import find_checkpoint
from worker.windowing import Windowing

MOUNT_S = 10.0  # Seconds that mounting may take.
MOUNT_CHECK_S = 0.05  # Seconds between two checks whether the folder is mounted.
WARM_UP_FILES = 2  # The first files warm the decode processes up, the others are measured.
THREADS = 64  # How many reads can wait at a time.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    parser.add_argument("folder", type=Path, help="a folder of audio files, without folders in it")
    parser.add_argument(
        "--wait-ms", type=float, default=20.0, help="of every opening and every read of at most 128 KiB (default: 20)"
    )
    parser.set_defaults(device="cpu")


def main(options: argparse.Namespace) -> None:
    """Measure and print. Raises GenremillError where the folder has too few files or cannot be mounted."""
    folder, wait_s = options.folder.absolute(), options.wait_ms / 1000
    names = [path.name for path in list_files(folder)]
    if len(names) <= WARM_UP_FILES:
        raise GenremillError(f"{folder} has {len(names)} files; at least {WARM_UP_FILES + 1} are needed")
    windowing = windowing_of(find_checkpoint("musicnn"), "cpu")
    print(f"{len(names)} files; {options.wait_ms:g} ms for every opening and every read of at most 128 KiB", flush=True)
    fast = measure(windowing, folder, names)
    print(f"fast storage                        {fast:6.2f} tracks/s", flush=True)
    with slow_mount(folder, wait_s) as mounted:
        ahead = measure(windowing, mounted, names)
    print(f"slow storage                        {ahead:6.2f} tracks/s", flush=True)
    with slow_mount(folder, wait_s) as mounted:
        without = measure(windowing, mounted, names, reading_ahead=False)
    print(f"slow storage without reading ahead  {without:6.2f} tracks/s")
    print(f"with / without reading ahead = {ahead / without:.2f}")
    print(f"with reading ahead / fast storage = {ahead / fast:.2f}")


def measure(windowing: Windowing, folder: Path, names: list[str], *, reading_ahead: bool = True) -> float:
    """Tracks a second of new decode processes."""
    paths = [folder / name for name in names]
    warm_up, tracks = paths[:WARM_UP_FILES], paths[WARM_UP_FILES:]
    with contextlib.closing(DecodeProcesses(windowing, warm_up, reading_ahead=reading_ahead)) as decoding:
        return decoding.decode(tracks).tracks_per_s


@contextlib.contextmanager
def slow_mount(folder: Path, wait_s: float) -> Iterator[Path]:
    """The folder, mounted anew, with nothing of it in the page cache."""
    with tempfile.TemporaryDirectory() as mount_point:
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, mount_point, wait_s))
        server.start()
        deadline = time.monotonic() + MOUNT_S
        while not os.path.ismount(mount_point):
            if not server.is_alive() or time.monotonic() > deadline:
                raise GenremillError(f"{folder} cannot be mounted through FUSE: see `slow-storage --help`")
            time.sleep(MOUNT_CHECK_S)
        try:
            yield Path(mount_point)
        finally:
            subprocess.run(["umount", "-l", mount_point], check=True)
            server.terminate()
            server.join()


def serve(folder: Path, mount_point: str, wait_s: float) -> None:
    """Serve the folder as a slow file system, until this process is ended."""
    import mfusepy

    class SlowFolder(mfusepy.Operations):
        """The folder's files, read-only. The names of the methods and their arguments are those of FUSE."""

        def getattr(self, path, fh=None):
            status = os.lstat(f"{folder}{path}")
            return {name: getattr(status, name) for name in ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")}

        def readdir(self, path, fh):
            return [".", "..", *(entry.name for entry in Path(f"{folder}{path}").iterdir())]

        def open(self, path, flags):
            time.sleep(wait_s)
            return os.open(f"{folder}{path}", os.O_RDONLY)

        def read(self, path, size, offset, fh):
            time.sleep(wait_s)
            return os.pread(fh, size, offset)

        def release(self, path, fh):
            os.close(fh)

    # kernel_cache: the page cache outlives the closing of a file, as it does on NFS
    mfusepy.FUSE(
        SlowFolder(), mount_point, foreground=True, ro=True, kernel_cache=True, nothreads=False, max_threads=THREADS
    )
