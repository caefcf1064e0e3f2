"""Writers of a SQLite file take turns: threads, processes, and both."""

import fcntl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from db.write_lock import SqliteWriteLock
from tests.conftest import wait_until

BUSY_WRITER = """
import sys, time
from pathlib import Path
from db.write_lock import SqliteWriteLock

lock, turns = SqliteWriteLock(Path(sys.argv[1])), Path(sys.argv[2])
while True:
    with lock:
        turns.write_text(str(int(turns.read_text() or 0) + 1) if turns.exists() else "1")
        time.sleep(0.005)
"""
SCAN_TURNS = 60  # How often the scan-like writer of the test writes.
PAUSE_S = 0.005  # Its pause between two turns.


@pytest.fixture
def database(tmp_path):
    """The path of a SQLite file, which need not be there for its lock."""
    return tmp_path / "genremill.db"


@pytest.fixture
def lock(database):
    lock = SqliteWriteLock(database)
    yield lock
    lock.close()


@pytest.mark.parametrize("busy_writers", [1, 3])
def test_a_writer_that_pauses_is_not_kept_out_by_processes_that_write_all_the_time(
    database, lock, tmp_path, processes, busy_writers
):
    """With one file instead of two, the busy writers had some 150 turns for each turn of the other one."""
    turns = [tmp_path / f"turns {number}" for number in range(busy_writers)]
    for file in turns:
        processes.append(subprocess.Popen([sys.executable, "-c", BUSY_WRITER, database, file]))
    wait_until(lambda: all(file.exists() for file in turns))

    def count_turns() -> int:
        with lock:
            return sum(int(file.read_text()) for file in turns)

    before, deadline, own_turns = count_turns(), time.monotonic() + 20, 0
    while own_turns < SCAN_TURNS and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
        after = count_turns()
        own_turns += 1
    assert own_turns == SCAN_TURNS
    assert after - before < 5 * busy_writers * own_turns


def test_one_writer_at_a_time(lock, database):
    """Four threads with this lock and four with one of their own, as another process has it."""
    other, inside, most = SqliteWriteLock(database), [], []

    def write(number):
        with lock if number % 2 else other:
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.005)
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    other.close()
    assert max(most) == 1


def test_the_process_that_is_next_holds_the_first_file_while_it_waits(lock, database):
    waiting = SqliteWriteLock(database)  # As another process has it.

    def take_turn():
        with waiting:
            assert not is_locked(database, "next")
            assert is_locked(database, "lock")

    with ThreadPoolExecutor(1) as pool:
        with lock:
            turn = pool.submit(take_turn)
            wait_until(lambda: is_locked(database, "next"))
            assert not turn.done()
        turn.result(10)
    waiting.close()
    assert not is_locked(database, "lock")


def is_locked(database, suffix) -> bool:
    with open(f"{database}.{suffix}", "w") as file:  # noqa: PTH123
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_an_error_in_the_transaction_ends_the_turn(lock, database):
    with pytest.raises(KeyError), lock:
        raise KeyError
    assert not is_locked(database, "lock")
    with lock:
        assert is_locked(database, "lock")


def test_a_folder_without_files_leaves_the_turns_to_sqlite(tmp_path):
    lock = SqliteWriteLock(tmp_path / "no folder" / "genremill.db")
    for _ in range(2):
        with lock:
            pass
    lock.close()


def test_a_lock_that_was_closed_may_be_taken_again(lock, database):
    with lock:
        pass
    lock.close()
    with lock:
        assert is_locked(database, "lock")


@pytest.mark.parametrize("suffix", ["next", "lock"])
def test_a_process_that_hangs_while_it_writes_is_not_waited_for_without_end(database, suffix):
    lock = SqliteWriteLock(database, timeout_s=0.3)
    with open(f"{database}.{suffix}", "w") as file:  # noqa: PTH123
        fcntl.flock(file, fcntl.LOCK_EX)
        start = time.monotonic()
        with lock:
            assert 0.3 <= time.monotonic() - start < 5
    lock.close()


def test_a_thread_that_hangs_while_it_writes_is_an_error_for_the_others(database):
    lock = SqliteWriteLock(database, timeout_s=0.1)
    with lock, ThreadPoolExecutor(1) as pool, pytest.raises(TimeoutError, match=r"more than 0\.1 s"):
        pool.submit(lock.__enter__).result(10)
    with lock:
        pass
    lock.close()
