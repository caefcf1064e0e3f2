"""What several tests of decoding share: a sink that records, decode processes from outside, reading without a pool."""

import os
import subprocess
import threading
import time
from pathlib import Path

import numpy as np

from worker.decode.sink import WindowBlock
from worker.decode.windows import read_windows
from worker.errors import TrackError
from worker.windowing import Windowing

MUSICNN = Windowing(16_000, 47_872)
FULL = Windowing(16_000, 16_000, "full")
FINE = Windowing(16_000, 1_600)
FINE_FULL = Windowing(16_000, 1_600, "full")
BLOCK_OF_4 = 4 * 2 * FULL.window  # bytes
NOISE = np.random.default_rng(7).bytes(200_000)


class RecordingSink:
    """Keeps the samples it gets. `hold`: does not release the blocks. `raises`: raises at the first block."""

    def __init__(self, *, hold=False, raises=False):
        self.hold, self.raises = hold, raises
        self.blocks: list[WindowBlock] = []
        self.pcm: list[np.ndarray] = []
        self.error: TrackError | None = None
        self.endings = 0
        self.arrived, self.over = threading.Event(), threading.Event()

    def windows(self, block):
        if self.raises:
            raise LookupError("a bug in the sink")
        self.pcm.append(block.pcm.copy())
        self.blocks.append(block)
        self.arrived.set()
        if not self.hold:
            block.release()

    def end(self):
        self.endings += 1
        self.over.set()

    def failed(self, error):
        self.error = error
        self.end()

    def wait(self):
        """The error, or None, after the track's one and only end."""
        assert self.over.wait(30)
        assert self.endings == 1
        return self.error


def submit(pool, path, windowing=MUSICNN, **options):
    """Submit a file with a new RecordingSink, which is returned."""
    sink = RecordingSink(**options)
    pool.submit(path, windowing, sink)
    return sink


def child_pids(parent=None):
    """The process ids of the decode processes of a process; of this one by default."""
    parent = parent or os.getpid()
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "worker.decode.child" in line]


def _stat(pid):
    """The fields of /proc/PID/stat behind the process's name."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def is_alive(pid):
    """Whether the process runs, and is not only waited for by its parent."""
    try:
        return _stat(pid)[0] != "Z"
    except FileNotFoundError:
        return False


def cpu_s(pid):
    """Processor time of a process, in seconds."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until(condition, seconds=10.0):
    """Wait until the condition is true; fail the test when it is not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def windows(path, windowing=MUSICNN, max_windows=16):
    """All windows of a file, int16 (windows, samples), read in this process."""
    return np.concatenate([block.pcm for block in read_windows(os.fsencode(path), windowing, max_windows)])


def read_all(reader, start=0, stop=None):
    """What a reader's blocks() give, in one array."""
    return np.concatenate(list(reader.blocks(start, stop)))


def cut_off(path, part):
    """Cut a file off, so that this part of it is left."""
    os.truncate(path, int(path.stat().st_size * part))
    return path
