"""Decoding from storage that takes its time: python -m benchmarks.decoding.slow_storage FOLDER [--wait-ms 20]

FOLDER is shown once more through FUSE, where every read and every opening of a file waits. What the decode children
reach there is compared with what they reach without reading ahead, and with fast storage. Linux; needs `pip install
mfusepy` and libfuse (FUSE_LIBRARY_PATH says where, if it is not installed), and the right to mount.
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

from benchmarks.decoding.decode_pool import Children
from worker.decode import readahead
from worker.windowing import Windowing

CUT = Windowing(16_000, 47_872)  # musicnn's
START_S = 10.0


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="audio files")
    parser.add_argument(
        "--wait-ms", type=float, default=20.0, help="of every read of at most 128 KiB, and every opening"
    )
    options = parser.parse_args()
    folder = options.folder.absolute()
    names = sorted(path.name for path in folder.iterdir())
    print(f"{len(names)} files; {options.wait_ms:g} ms for every opening and every read of at most 128 KiB", flush=True)
    fast = rate(folder, names)
    print(f"fast storage                        {fast:6.2f} tracks/s", flush=True)
    with slow(folder, options.wait_ms / 1000) as mounted:
        reading_ahead = rate(mounted, names)
    print(f"slow storage                        {reading_ahead:6.2f} tracks/s", flush=True)
    readahead.ReadAhead.ask = lambda self, path, coverage: None
    with slow(folder, options.wait_ms / 1000) as mounted:
        without = rate(mounted, names)
    print(f"slow storage without reading ahead  {without:6.2f} tracks/s")
    print(f"with / without reading ahead = {reading_ahead / without:.2f}")
    print(f"with reading ahead / fast storage = {reading_ahead / fast:.2f}")


def rate(folder: Path, names: list[str]) -> float:
    """Tracks a second of the decode children."""
    paths = [folder / name for name in names]
    with contextlib.closing(Children(CUT, paths[:2])) as decoding:
        return decoding.decode(paths[2:]).tracks_per_s


@contextlib.contextmanager
def slow(folder: Path, wait_s: float) -> Iterator[Path]:
    """The folder, mounted anew, with nothing of it in the page cache."""
    with tempfile.TemporaryDirectory() as point:
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, point, wait_s))
        process.start()
        deadline = time.monotonic() + START_S
        while not os.path.ismount(point):
            assert process.is_alive() and time.monotonic() < deadline, "it cannot be mounted"
            time.sleep(0.05)
        try:
            yield Path(point)
        finally:
            subprocess.run(["umount", "-l", point], check=True)
            process.terminate()
            process.join()


def serve(folder: Path, point: str, wait_s: float) -> None:
    """Be the file system."""
    import mfusepy

    class Slow(mfusepy.Operations):
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

    # the page cache outlives the opening of a file, as on NFS
    mfusepy.FUSE(Slow(), point, foreground=True, ro=True, kernel_cache=True, nothreads=False, max_threads=64)


if __name__ == "__main__":
    main()
