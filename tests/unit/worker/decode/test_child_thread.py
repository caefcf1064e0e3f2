"""The thread that owns a decode process: processes really killed, stopped and starved cost one track at most."""

import os
import re
import signal
import time

from tests.support import audio
from tests.unit.worker.decode.helpers import BLOCK_OF_4, FULL, child_pids, is_alive, submit, wait_until
from worker.errors import DecoderCrashedError, DecoderOutOfMemoryError, DecodeTimeoutError
from worker.windowing import Windowing


def test_waiting_for_a_slot_is_not_the_processes_time(pool_of, sweep_path):
    held = submit(pool_of(slots=1, slot_bytes=BLOCK_OF_4, deadline_s=0.5), sweep_path, FULL, hold=True)
    assert held.arrived.wait(10)
    time.sleep(1.2)
    held.hold = False
    held.blocks[0].release()
    assert held.wait() is None


def test_a_process_that_dies_costs_its_own_track_alone(pool_of, sweep_path):
    pool = pool_of(slots=1, slot_bytes=BLOCK_OF_4)
    held = submit(pool, sweep_path, FULL, hold=True)
    following = submit(pool, sweep_path)
    assert held.arrived.wait(10)
    (pid,) = child_pids()
    os.kill(pid, signal.SIGSEGV)
    wait_until(lambda: not is_alive(pid))
    held.blocks[0].release()
    assert type(held.wait()) is DecoderCrashedError
    assert re.match(r"sweep\.flac: .*SIGSEGV", str(held.error))
    assert following.wait() is None


def test_a_process_that_dies_idle_costs_nothing(pool_of, sweep_path):
    pool = pool_of()
    for _ in range(3):
        assert submit(pool, sweep_path).wait() is None
        os.kill(child_pids()[0], signal.SIGKILL)
    assert submit(pool, sweep_path).wait() is None


def test_a_process_past_its_deadline_is_replaced(pool_of, sweep_path):
    pool = pool_of(slots=1, slot_bytes=BLOCK_OF_4, deadline_s=1.0)
    held = submit(pool, sweep_path, FULL, hold=True)
    assert held.arrived.wait(10)
    (pid,) = child_pids()
    os.kill(pid, signal.SIGSTOP)
    held.blocks[0].release()
    error = held.wait()
    assert type(error) is DecodeTimeoutError
    assert "more than 1 s" in str(error)
    assert not is_alive(pid)
    assert submit(pool, sweep_path, FULL).wait() is None


def test_memory_past_the_limit_costs_the_track(pool_of, sweep_path, tmp_path):
    m4a = audio.write(tmp_path / "a.m4a", audio.sweep(5, 44_100), 44_100)
    pool = pool_of(memory_mib=160, slot_bytes=1 << 28)
    assert submit(pool, sweep_path, Windowing(16_000, 1 << 27, "full")).wait().code == DecoderOutOfMemoryError.code
    assert submit(pool, sweep_path).wait() is None
    assert submit(pool, os.fsencode(m4a)).wait() is None  # PyAV has enough memory, too.


def test_a_sink_that_raises_fails_its_track_alone(pool_of, sweep_path, caplog):
    pool = pool_of(slots=1)
    error = submit(pool, sweep_path, raises=True).wait()
    assert "could not be handed over" in str(error)
    assert "a bug in the sink" in caplog.text
    assert submit(pool, sweep_path).wait() is None  # So the slot is free again.
