"""How a scan reads files: in turn while storage is fast, in threads while it is slow."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from db.session import connect
from producer.scan import FIRST_BATCH, MAX_BATCH, FileReader, read_facts, scan_library
from producer.walk import Found


@pytest.fixture
def threads():
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def files(tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.mp3").write_bytes(b"x" * (number + 1))
    return [Found(b"%d.mp3" % number, number + 1, 7) for number in range(8)]


class Storage:
    """Reads files as a scan does. Remembers the threads that read, and lets them wait."""

    def __init__(self, wait_s=0.0):
        self.wait_s, self.threads = wait_s, set()

    def read_facts(self, root, file):
        self.threads.add(threading.current_thread())
        time.sleep(self.wait_s)
        return read_facts(root, file)


def test_files_are_read_in_turn_while_storage_is_fast(tmp_path, threads, files, monkeypatch):
    storage = Storage()
    reader = FileReader(bytes(tmp_path), threads, storage.read_facts)
    for _ in range(2):
        monkeypatch.setattr(time, "perf_counter", iter((10.0, 12.0)).__next__)
        monkeypatch.setattr(time, "process_time", iter((5.0, 6.0)).__next__)
        reader.read(files)
    assert storage.threads == {threading.current_thread()}


def test_files_are_read_by_threads_after_a_batch_that_was_slow(tmp_path, threads, files, monkeypatch):
    storage = Storage(wait_s=0.02)
    reader = FileReader(bytes(tmp_path), threads, storage.read_facts)
    first = reader.read(files)
    assert storage.threads == {threading.current_thread()}
    storage.threads.clear()
    assert reader.read(files) == first
    assert threading.current_thread() not in storage.threads
    assert len(storage.threads) > 1
    storage.wait_s = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    reader.read(files)
    storage.threads.clear()
    reader.read(files)
    assert storage.threads == {threading.current_thread()}


def test_facts_come_in_the_order_of_the_files(tmp_path, threads, files):
    facts = FileReader(bytes(tmp_path), threads).read(files)
    assert [(fact.path, fact.size_bytes, fact.mtime_ns) for fact in facts] == [
        (file.path, file.size_bytes, 7) for file in files
    ]
    assert len({fact.audio_hash for fact in facts}) == 8


def test_a_file_that_is_gone_has_no_hash(tmp_path, threads):
    (facts,) = FileReader(bytes(tmp_path), threads).read([Found(b"gone.mp3", 1, 2)])
    assert (facts.path, facts.audio_hash, facts.duration_s) == (b"gone.mp3", None, None)


def test_transactions_double_until_they_are_full(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    for number in range(31 * FIRST_BATCH + MAX_BATCH + 3):
        (folder / f"{number}.mp3").touch()
    seen = [0]
    database = connect(f"sqlite:///{tmp_path}/genremill.db")
    scan_library(database, folder, on_progress=lambda so_far: seen.append(so_far.seen))
    database.close()
    sizes = [after - before for before, after in pairwise(seen)]
    assert sizes[:5] == [FIRST_BATCH, 2 * FIRST_BATCH, 4 * FIRST_BATCH, 8 * FIRST_BATCH, 16 * FIRST_BATCH]
    assert sizes[5:] == [MAX_BATCH, 3]
