"""The pool: windows of many files in order, through few slots, to their sinks."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support import audio
from tests.unit.worker.decode.helpers import BLOCK_OF_4, FULL, MUSICNN, child_pids, is_alive, submit, wait_until
from worker.decode.pool import NATIVE_SLOT_BYTES, SLOT_BYTES, SLOTS_PER_PROCESS, DecodePool
from worker.decode.windows import read_windows
from worker.errors import MissingFileError
from worker.windowing import REGIONS, Windowing


def test_windows_arrive_as_decoded(pool_of, sweep_path):
    track = submit(pool_of(), sweep_path)
    assert track.wait() is None
    assert np.array_equal(np.concatenate(track.pcm), next(read_windows(sweep_path, MUSICNN, 16)).pcm)


def test_a_long_track_comes_in_order_through_few_slots(pool_of, sweep_path):
    track = submit(pool_of(slots=1, slot_bytes=BLOCK_OF_4), sweep_path, FULL)
    assert track.wait() is None
    assert [len(pcm) for pcm in track.pcm] == [4] * 15
    times = [audio.time_of(window, 16_000) for window in np.concatenate(track.pcm)]
    assert times == pytest.approx(np.arange(60) + 0.5, abs=0.06)


def test_models_that_want_different_windows_share_a_pool(pool_of, sweep_path):
    pool = pool_of(2)
    tracks = [submit(pool, sweep_path, windowing) for windowing in (MUSICNN, FULL, Windowing(22_050, 100_000))]
    assert [track.wait() for track in tracks] == [None] * 3
    assert [track.pcm[0].shape[1] for track in tracks] == [47_872, 16_000, 100_000]


def test_more_is_expected_while_files_wait_for_a_process_and_slots_are_free(pool_of, sweep_path):
    pool = pool_of(slots=2)
    assert not pool.expecting()
    first = [submit(pool, sweep_path, hold=True) for _ in range(2)]  # The process has yet to start.
    assert pool.expecting()
    wait_until(lambda: all(track.blocks for track in first))
    others = [submit(pool, sweep_path) for _ in range(2)]  # The process has the first of them, but there is no slot.
    assert not pool.expecting()
    for track in first:
        track.blocks[0].release()
    assert [track.wait() for track in others] == [None] * 2
    assert not pool.expecting()


def test_a_window_larger_than_a_slot_is_refused(pool_of, sweep_path):
    with pytest.raises(ValueError, match="does not fit"):
        submit(pool_of(slot_bytes=2 * MUSICNN.window - 2), sweep_path)


def test_a_window_as_large_as_a_slot_is_read(pool_of, sweep_path):
    track = submit(pool_of(slot_bytes=2 * MUSICNN.window), sweep_path)
    assert track.wait() is None
    assert [len(pcm) for pcm in track.pcm] == [1] * 9


def test_slots_have_room_for_what_they_are_meant_for(pool_of):
    assert pool_of().memory.shape == (SLOTS_PER_PROCESS, SLOT_BYTES // 2)
    assert pool_of(2, native=True).memory.shape == (2 * SLOTS_PER_PROCESS, NATIVE_SLOT_BYTES // 2)
    assert 21 * MUSICNN.window <= SLOT_BYTES // 2 < 22 * MUSICNN.window
    assert REGIONS * (MUSICNN.region_frames(48_000) + 3) * 2 <= NATIVE_SLOT_BYTES // 2


def test_an_unreleased_block_keeps_its_content(pool_of, sweep_path):
    pool = pool_of(slots=2, slot_bytes=BLOCK_OF_4)
    held = submit(pool, sweep_path, FULL, hold=True)
    wait_until(lambda: len(held.blocks) == 2)
    kept = [block.pcm for block in held.blocks]
    time.sleep(0.2)
    assert len(held.blocks) == 2  # No slot is left.
    assert all(np.array_equal(now, then) for now, then in zip(kept, held.pcm, strict=True))
    held.hold = False
    for block in [*held.blocks, *held.blocks]:  # A second release must not give a slot twice.
        block.release()
    assert held.wait() is None
    assert len(np.concatenate(held.pcm)) == 60


def test_an_error_of_the_file_comes_with_its_sentence(pool_of, sweep_path):
    pool = pool_of()
    error = submit(pool, b"/nowhere/\xff.mp3").wait()
    assert type(error) is MissingFileError
    assert str(error).startswith("\\xff.mp3: ")
    assert submit(pool, sweep_path).wait() is None


def test_every_track_ends_once(pool_of, sweep_path, tmp_path):
    (tmp_path / "words.mp3").write_text("These are only words. " * 100)
    pool = pool_of(2)
    paths = [sweep_path, b"/nowhere", os.fsencode(tmp_path / "words.mp3"), os.fsencode(tmp_path)] * 50
    tracks = [submit(pool, path) for path in paths]
    codes = [error and error.code for error in [track.wait() for track in tracks]]
    assert codes == [None, "missing", "undecodable", "unreadable"] * 50
    assert len(child_pids()) == 2
    assert all(sum(map(len, track.pcm)) == 9 for track in tracks[::4])


def test_submit_waits_when_twice_as_many_files_as_processes_are_queued(pool_of, sweep_path):
    pool = pool_of(slots=1)
    held = submit(pool, sweep_path, hold=True)
    assert held.wait() is None  # Its block is not released, so the files behind it have no slot.
    submit(pool, sweep_path)
    late = threading.Thread(target=lambda: [submit(pool, sweep_path) for _ in range(3)], daemon=True)
    late.start()
    late.join(0.3)
    assert late.is_alive()
    held.blocks[0].release()
    late.join(10)
    assert not late.is_alive()


def test_close_ends_the_processes_and_whoever_waits(pool_of, sweep_path):
    pool = pool_of(2, slots=1, slot_bytes=BLOCK_OF_4)
    held = submit(pool, sweep_path, FULL, hold=True)
    assert held.arrived.wait(10)
    refused = threading.Event()

    def fill():
        try:
            while True:
                submit(pool, sweep_path, FULL)
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
    assert not any(map(is_alive, pids))
    assert not held.endings
    assert held.blocks[0].pcm.any()  # Memory in use outlives the pool.
    held.blocks[0].release()
    with pytest.raises(RuntimeError, match="closed"):
        submit(pool, sweep_path)


def test_nothing_is_left_open(sweep_path):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    pool = DecodePool(2)
    assert submit(pool, sweep_path).wait() is None
    pool.close()
    assert descriptors() == before
