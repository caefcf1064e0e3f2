"""The pool of decode children: real processes, really killed, stopped and starved."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support import audio
from tests.support.paths import ROOT
from worker.decode.child import NICENESS
from worker.decode.pool import DecodePool, WindowBlock
from worker.decode.windows import read_windows
from worker.errors import DecoderCrashedError, DecoderOutOfMemoryError, DecodeTimeoutError, MissingFileError, TrackError
from worker.windowing import Windowing

MUSICNN = Windowing(16_000, 47_872)
FULL = Windowing(16_000, 16_000, "full")
BLOCK_OF_4 = 4 * 2 * FULL.window  # bytes


class Track:
    """A sink that keeps what it gets. `hold` keeps the blocks too; `broken` raises at the first."""

    def __init__(self, *, hold=False, broken=False):
        self.hold, self.broken = hold, broken
        self.blocks: list[WindowBlock] = []
        self.pcm: list[np.ndarray] = []
        self.error: TrackError | None = None
        self.endings = 0
        self.arrived, self.over = threading.Event(), threading.Event()

    def windows(self, block):
        if self.broken:
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
        assert self.over.wait(30)
        assert self.endings == 1
        return self.error


@pytest.fixture
def pool_of():
    pools = []

    def start(children=1, **options):
        pools.append(DecodePool(children, **options))
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A sweep of 60 s as FLAC, by its bytes path."""
    path = tmp_path_factory.mktemp("music") / "sweep.flac"
    return os.fsencode(audio.write(path, audio.sweep(60, 16_000), 16_000))


def send(pool, path, windowing=MUSICNN, **options):
    track = Track(**options)
    pool.submit(path, windowing, track)
    return track


def child_pids(parent=None):
    parent = parent or os.getpid()
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "worker.decode.child" in line]


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_windows_arrive_as_decoded(pool_of, music):
    track = send(pool_of(), music)
    assert track.wait() is None
    assert np.array_equal(np.concatenate(track.pcm), next(read_windows(music, MUSICNN, 16)).pcm)


def test_a_long_track_comes_in_order_through_few_slots(pool_of, music):
    track = send(pool_of(slots=1, slot_bytes=BLOCK_OF_4), music, FULL)
    assert track.wait() is None
    assert [len(pcm) for pcm in track.pcm] == [4] * 15
    times = [audio.time_of(window, 16_000) for window in np.concatenate(track.pcm)]
    assert times == pytest.approx(np.arange(60) + 0.5, abs=0.06)


def test_cuts_of_two_models_share_a_pool(pool_of, music):
    pool = pool_of(2)
    tracks = [send(pool, music, windowing) for windowing in (MUSICNN, FULL, Windowing(22_050, 100_000))]
    assert [track.wait() for track in tracks] == [None] * 3
    assert [track.pcm[0].shape[1] for track in tracks] == [47_872, 16_000, 100_000]


def test_more_is_expected_while_files_wait_for_a_child_and_slots_are_free(pool_of, music):
    pool = pool_of(slots=2)
    assert not pool.expecting()
    first = [send(pool, music, hold=True) for _ in range(2)]  # the child has yet to start
    assert pool.expecting()
    wait_until(lambda: all(track.blocks for track in first))
    others = [send(pool, music) for _ in range(2)]  # the first of them has the child, but no slot
    assert not pool.expecting()
    for track in first:
        track.blocks[0].release()
    assert [track.wait() for track in others] == [None] * 2
    assert not pool.expecting()


def test_a_window_larger_than_a_slot_is_refused(pool_of, music):
    with pytest.raises(ValueError, match="does not fit"):
        send(pool_of(slot_bytes=1000), music)


def test_an_unreleased_block_keeps_its_content(pool_of, music):
    pool = pool_of(slots=2, slot_bytes=BLOCK_OF_4)
    held = send(pool, music, FULL, hold=True)
    wait_until(lambda: len(held.blocks) == 2)
    kept = [block.pcm for block in held.blocks]
    time.sleep(0.2)
    assert len(held.blocks) == 2  # no slot is left
    assert all(np.array_equal(now, then) for now, then in zip(kept, held.pcm, strict=True))
    held.hold = False
    for block in [*held.blocks, *held.blocks]:  # a second release must not give a slot twice
        block.release()
    assert held.wait() is None
    assert len(np.concatenate(held.pcm)) == 60


def test_waiting_for_a_slot_is_not_the_childs_time(pool_of, music):
    held = send(pool_of(slots=1, slot_bytes=BLOCK_OF_4, deadline_s=0.5), music, FULL, hold=True)
    assert held.arrived.wait(10)
    time.sleep(1.2)
    held.hold = False
    held.blocks[0].release()
    assert held.wait() is None


def test_an_error_of_the_file_crosses_with_its_sentence(pool_of, music):
    pool = pool_of()
    error = send(pool, b"/nowhere/\xff.mp3").wait()
    assert type(error) is MissingFileError
    assert str(error).startswith("\\xff.mp3: ")
    assert send(pool, music).wait() is None


def test_a_child_that_dies_costs_its_own_track_alone(pool_of, music):
    pool = pool_of(slots=1, slot_bytes=BLOCK_OF_4)
    held = send(pool, music, FULL, hold=True)
    following = send(pool, music)
    assert held.arrived.wait(10)
    (pid,) = child_pids()
    os.kill(pid, signal.SIGSEGV)
    wait_until(lambda: not alive(pid))
    held.blocks[0].release()
    assert type(held.wait()) is DecoderCrashedError
    assert re.match(r"sweep\.flac: .*SIGSEGV", str(held.error))
    assert following.wait() is None


def test_a_child_that_dies_idle_costs_nothing(pool_of, music):
    pool = pool_of()
    for _ in range(3):
        assert send(pool, music).wait() is None
        os.kill(child_pids()[0], signal.SIGKILL)
    assert send(pool, music).wait() is None


def test_a_child_past_its_deadline_is_replaced(pool_of, music):
    pool = pool_of(slots=1, slot_bytes=BLOCK_OF_4, deadline_s=1.0)
    held = send(pool, music, FULL, hold=True)
    assert held.arrived.wait(10)
    (pid,) = child_pids()
    os.kill(pid, signal.SIGSTOP)
    held.blocks[0].release()
    error = held.wait()
    assert type(error) is DecodeTimeoutError
    assert "more than 1 s" in str(error)
    assert not alive(pid)
    assert send(pool, music, FULL).wait() is None


def test_memory_past_the_limit_costs_the_track(pool_of, music, tmp_path):
    m4a = audio.write(tmp_path / "a.m4a", audio.sweep(5, 44_100), 44_100)
    pool = pool_of(memory_mib=160, slot_bytes=1 << 28)
    assert send(pool, music, Windowing(16_000, 1 << 27, "full")).wait().code == DecoderOutOfMemoryError.code
    assert send(pool, music).wait() is None
    assert send(pool, os.fsencode(m4a)).wait() is None  # PyAV fits, too


def test_a_sink_that_raises_fails_its_track_alone(pool_of, music, caplog):
    pool = pool_of(slots=1)
    error = send(pool, music, broken=True).wait()
    assert "could not be handed over" in str(error)
    assert "a bug in the sink" in caplog.text
    assert send(pool, music).wait() is None  # and the slot is free again


def test_every_track_ends_once(pool_of, music, tmp_path):
    (tmp_path / "words.mp3").write_text("These are only words. " * 100)
    pool = pool_of(2)
    paths = [music, b"/nowhere", os.fsencode(tmp_path / "words.mp3"), os.fsencode(tmp_path)] * 50
    tracks = [send(pool, path) for path in paths]
    codes = [error and error.code for error in [track.wait() for track in tracks]]
    assert codes == [None, "missing", "undecodable", "unreadable"] * 50
    assert len(child_pids()) == 2
    assert all(sum(map(len, track.pcm)) == 9 for track in tracks[::4])


def test_submit_waits_when_the_backlog_is_full(pool_of, music):
    pool = pool_of(slots=1)
    held = send(pool, music, hold=True)
    assert held.wait() is None  # its block is not released: what follows has no slot
    send(pool, music)
    late = threading.Thread(target=lambda: [send(pool, music) for _ in range(3)], daemon=True)
    late.start()
    late.join(0.3)
    assert late.is_alive()
    held.blocks[0].release()
    late.join(10)
    assert not late.is_alive()


def test_close_ends_the_children_and_whoever_waits(pool_of, music):
    pool = pool_of(2, slots=1, slot_bytes=BLOCK_OF_4)
    held = send(pool, music, FULL, hold=True)
    assert held.arrived.wait(10)
    refused = threading.Event()

    def fill():
        try:
            while True:
                send(pool, music, FULL)
        except RuntimeError:
            refused.set()

    threading.Thread(target=fill, daemon=True).start()
    pids = child_pids()
    assert len(pids) == 2
    os.kill(pids[0], signal.SIGSTOP)
    began = time.monotonic()
    pool.close()
    pool.close()
    assert time.monotonic() - began < 2
    assert refused.wait(2)
    assert not any(map(alive, pids))
    assert not held.endings
    assert held.blocks[0].pcm.any()  # memory in use outlives the pool
    held.blocks[0].release()
    with pytest.raises(RuntimeError, match="closed"):
        send(pool, music)


def test_nothing_is_left_open(music):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    pool = DecodePool(2)
    assert send(pool, music).wait() is None
    pool.close()
    assert descriptors() == before


PARENT = """
import os, sys, time
from worker.decode.pool import DecodePool
from worker.decode.windows import Windowing

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


@pytest.mark.parametrize("busy", [False, True])
def test_children_end_with_their_parent(tmp_path, busy):
    paths = []
    if busy:  # hours of silence: the children are inside libsndfile and soxr for many seconds, with nothing to say
        paths = [tmp_path / f"{name}.wav" for name in "ab"]
        for path in paths:
            audio.write(path, np.zeros(44_100, np.float32), 44_100)
            header = bytearray(path.read_bytes()[:44])
            header[40:44] = (0xF000_0000).to_bytes(4, "little")
            header[4:8] = (0xF000_0024).to_bytes(4, "little")
            path.write_bytes(header)
            os.truncate(path, 0xF000_0024)  # sparse
    command = [sys.executable, "-c", PARENT, *map(str, paths)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "started\n"
        wait_until(lambda: len(child_pids(parent.pid)) == 2)
        pids = child_pids(parent.pid)
        if busy:
            wait_until(lambda: all(cpu_s(pid) > 0.5 for pid in pids))
        parent.kill()
        wait_until(lambda: not any(map(alive, pids)), 2.0)
        assert parent.stdout.read() == ""  # the files were still being read


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_ctrl_c_is_the_parents_to_handle(pool_of, music):
    pool = pool_of()
    assert send(pool, music).wait() is None
    (pid,) = child_pids()
    os.kill(pid, signal.SIGINT)
    assert send(pool, music).wait() is None
    assert child_pids() == [pid]


def test_whoever_feeds_the_children_goes_before_them(pool_of, music):
    assert send(pool_of(), music).wait() is None
    (pid,) = child_pids()
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19)


@pytest.mark.parametrize("module", ["worker.decode.pool", "worker.decode.child"])
def test_by_hand_it_says_what_it_is(module):
    done = subprocess.run([sys.executable, "-m", module], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode
    assert "genremill worker" in done.stderr
    assert "Traceback" not in done.stderr


def test_children_start_small():
    heavy = "{'torch', 'av', 'pydantic', 'celery', 'librosa'} & set(sys.modules)"
    code = f"import sys, worker.decode.child; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n"
