"""The decode process itself: how it starts, and when it ends."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.support import audio
from tests.support.paths import ROOT
from tests.unit.worker.decode.helpers import child_pids, cpu_s, is_alive, submit, wait_until
from worker.decode.child import NICENESS

PARENT = """
import os, sys, time
from worker.decode.pool import DecodePool
from worker.windowing import Windowing

class Sink:
    def windows(self, block): print("windows", flush=True)
    def end(self): print("end", flush=True)
    def failed(self, error): print("failed", error, flush=True)

pool = DecodePool(2)
print("started", flush=True)
for path in sys.argv[1:]:
    pool.submit(os.fsencode(path), Windowing(16_000, 16_000, "full"), Sink())
time.sleep(60)
"""


def hours_of_silence(path):
    """A WAV that takes long to read, with nothing to say meanwhile. It is sparse, so it takes no room on the disk."""
    audio.write(path, np.zeros(44_100, np.float32), 44_100)
    header = bytearray(path.read_bytes()[:44])
    header[40:44] = (0xF000_0000).to_bytes(4, "little")
    header[4:8] = (0xF000_0024).to_bytes(4, "little")
    path.write_bytes(header)
    os.truncate(path, 0xF000_0024)
    return path


@pytest.mark.parametrize("busy", [False, True])
def test_processes_end_with_their_parent(tmp_path, busy):
    paths = [hours_of_silence(tmp_path / f"{name}.wav") for name in "ab"] if busy else []
    command = [sys.executable, "-c", PARENT, *map(str, paths)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "started\n"
        wait_until(lambda: len(child_pids(parent.pid)) == 2)
        pids = child_pids(parent.pid)
        if busy:  # They are inside libsndfile and soxr.
            wait_until(lambda: all(cpu_s(pid) > 0.5 for pid in pids))
        parent.kill()
        wait_until(lambda: not any(map(is_alive, pids)), 2.0)
        assert parent.stdout.read() == ""  # The files were still being read.


def test_ctrl_c_is_the_parents_to_handle(pool_of, sweep_path):
    pool = pool_of()
    assert submit(pool, sweep_path).wait() is None
    (pid,) = child_pids()
    os.kill(pid, signal.SIGINT)
    assert submit(pool, sweep_path).wait() is None
    assert child_pids() == [pid]


def test_decoding_is_nicer_than_the_process_that_feeds_it(pool_of, sweep_path):
    assert submit(pool_of(), sweep_path).wait() is None
    (pid,) = child_pids()
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19)


@pytest.mark.parametrize("module", ["worker.decode.pool", "worker.decode.child", "worker.decode.readahead"])
def test_started_by_hand_it_says_what_to_run_instead(module):
    done = subprocess.run([sys.executable, "-m", module], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode
    assert "genremill worker" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_decode_process_imports_nothing_large():
    heavy = "{'torch', 'av', 'pydantic', 'celery', 'librosa'} & set(sys.modules)"
    code = f"import sys, worker.decode.child; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n"
