"""A scan brings the rows of tracks up to date with the folder, however often it is repeated."""

import ctypes
import itertools
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from db.paths import path_bytes
from genremill.sample.encode import write_track
from producer.scan import MAX_BATCH, scan_library
from tests.integration.rows import analyse, claim, counts, outcomes, plan, put_job, record, rows


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    for seed, suffix in enumerate((".wav", ".flac", ".ogg", ".mp3", ".m4a")):
        noise = np.random.default_rng(seed).normal(0, 0.1, (44_100, 2)).astype(np.float32)
        write_track(folder / f"album/{seed}{suffix}", noise, 44_100, {"title": f"song {seed}"})
    return folder


@pytest.fixture
def root(originals, tmp_path):
    return Path(shutil.copytree(originals, tmp_path / "music"))


def scan(database, root, **options) -> dict[str, int]:
    found = vars(scan_library(database, root, **options))
    return {name: value for name, value in found.items() if value and name not in ("part", "unreadable")}


def test_the_first_scan_has_the_facts(database, root):
    assert scan(database, root) == {"seen": 5, "new": 5}
    found = rows(database, "SELECT path, title, codec, sample_rate, channels, audio_hash FROM track ORDER BY path")
    assert [row[2] for row in found] == ["pcm", "flac", "vorbis", "mp3", "aac"]
    assert {row[1] for row in found} == {f"song {seed}" for seed in range(5)}
    assert {row[3:5] for row in found} == {(44_100, 2)}
    assert len({row[5] for row in found} - {None}) == 5


def test_known_files_are_not_opened(database, root):
    scan(database, root)
    before = rows(database, "SELECT audio_hash FROM track ORDER BY id")
    for path in root.rglob("*.*"):
        facts = path.stat()
        path.write_bytes(b"z" * facts.st_size)
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert scan(database, root) == {"seen": 5}
    assert rows(database, "SELECT audio_hash FROM track ORDER BY id") == before


def test_a_changed_file(database, root):
    scan(database, root)
    shutil.copy(root / "album/0.wav", root / "album/1.flac")
    assert scan(database, root) == {"seen": 5, "changed": 1}
    assert rows(database, "SELECT count(DISTINCT audio_hash) FROM track") == [(4,)]


def test_gone_and_back(database, root):
    scan(database, root)
    (root / "album").rename(root / ".hidden")
    assert scan(database, root) == {"missing": 5}
    assert rows(database, "SELECT count(*) FROM track WHERE missing_since IS NULL") == [(0,)]
    (root / ".hidden").rename(root / "album")
    assert scan(database, root) == {"seen": 5}
    assert rows(database, "SELECT count(*) FROM track WHERE missing_since IS NULL") == [(5,)]


def test_a_moved_library_keeps_what_is_known(database, root):
    library_id = scan_library(database, root).library_id
    analyse(database, plan(database, library_id))
    (root / "album").rename(root / "renamed")
    assert scan(database, root) == {"seen": 5, "new": 5, "missing": 5, "moved": 5}
    assert rows(database, "SELECT count(*), min(path) FROM track WHERE missing_since IS NULL") == [(5, "renamed/0.wav")]
    assert counts(database, plan(database, library_id)) == {"found": 5, "skipped": 5}


def test_retagging_is_no_change(database, root):
    from mutagen.flac import FLAC

    library_id = scan_library(database, root).library_id
    analyse(database, plan(database, library_id))
    tags = FLAC(root / "album/1.flac")
    tags["title"] = "another"
    tags.save()
    assert scan(database, root) == {"seen": 5, "changed": 1}
    assert rows(database, "SELECT count(*) FROM track WHERE title = 'another'") == [(1,)]
    assert counts(database, plan(database, library_id)) == {"found": 5, "skipped": 5}


@pytest.mark.parametrize(
    "name", [b"caf\xe9.wav", "日本.wav".encode(), b"new\nline.wav", b"a\\xe9.wav", b"'%\"_;--.wav"]
)
def test_names_come_back_as_they_are(database, root, name):
    shutil.rmtree(root / "album")
    with open(os.fsencode(root) + b"/" + name, "wb") as file:  # noqa: PTH123
        file.write(b"no audio")
    library_id = scan_library(database, root).library_id
    assert [path_bytes(row[0]) for row in rows(database, "SELECT path FROM track")] == [name]
    analyse(database, plan(database, library_id))
    shown = rows(database, "SELECT path FROM track_genre WHERE rank = 1")
    assert [path_bytes(row[0]) for row in shown] == [os.fsencode(root) + b"/" + name]


def test_two_libraries(database, root, tmp_path):
    other = Path(shutil.copytree(root, tmp_path / "other"))
    assert scan(database, root) == scan(database, other) == {"seen": 5, "new": 5}
    assert rows(database, "SELECT count(*), count(DISTINCT audio_hash) FROM track") == [(10, 5)]


def test_what_is_excluded_goes_missing(database, root):
    scan(database, root)
    assert scan(database, root, exclude=["*.mp3"]) == {"seen": 4, "missing": 1}


def test_a_folder_that_is_not_there(database, tmp_path):
    with pytest.raises(FileNotFoundError):
        scan_library(database, tmp_path / "none")


def test_a_change_that_keeps_the_size_is_seen_by_its_mtime(database, root):
    scan(database, root)
    path = root / "album/0.wav"
    facts, content = path.stat(), bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    before = dict(rows(database, "SELECT path, audio_hash FROM track"))
    assert scan(database, root) == {"seen": 5, "changed": 1}
    after = dict(rows(database, "SELECT path, audio_hash FROM track"))
    assert [name for name in after if after[name] != before[name]] == ["album/0.wav"]


def test_a_moved_file_keeps_its_id_and_prediction(database, root):
    analyse(database, plan(database, scan_library(database, root).library_id))
    ids = dict(rows(database, "SELECT path, id FROM track"))
    (root / "album/3.mp3").rename(root / "new.mp3")
    assert scan(database, root) == {"seen": 5, "new": 1, "missing": 1, "moved": 1}
    ids["new.mp3"] = ids.pop("album/3.mp3")
    assert dict(rows(database, "SELECT path, id FROM track WHERE missing_since IS NULL")) == ids
    shown = rows(database, f"SELECT rank FROM track_genre WHERE path = '{root}/new.mp3' ORDER BY rank")
    assert shown == [(1,), (2,)]
    assert scan(database, root) == {"seen": 5}


def test_a_copy_is_a_track_of_its_own(database, root):
    scan(database, root)
    ids = dict(rows(database, "SELECT path, id FROM track"))
    shutil.copy(root / "album/0.wav", root / "copy.wav")
    assert scan(database, root) == {"seen": 6, "new": 1}
    after = dict(rows(database, "SELECT path, id FROM track"))
    assert after.pop("copy.wav") not in ids.values()
    assert after == ids


def test_of_two_copies_of_a_file_that_is_gone_one_takes_its_place(database, root):
    scan(database, root)
    ((gone,),) = rows(database, "SELECT id FROM track WHERE path = 'album/0.wav'")
    shutil.copy(root / "album/0.wav", root / "a.wav")
    (root / "album/0.wav").rename(root / "b.wav")
    assert scan(database, root) == {"seen": 6, "new": 2, "missing": 1, "moved": 1}
    found = dict(rows(database, "SELECT path, id FROM track WHERE missing_since IS NULL"))
    assert [found["a.wav"], found["b.wav"]].count(gone) == 1


def test_a_folder_that_cannot_be_read_spares_its_tracks(database, root):
    for name in ("album-2/gone.wav", "album/below/deep.wav"):
        (root / name).parent.mkdir()
        shutil.copy(root / "album/0.wav", root / name)
    scan(database, root)
    (root / "album-2/gone.wav").unlink()
    (root / "album").chmod(0)
    with bound_by_permissions():
        found = scan_library(database, root)
    (root / "album").chmod(0o755)
    assert found.unreadable == ((b"album", "Permission denied"),)
    assert rows(database, "SELECT path FROM track WHERE missing_since IS NOT NULL") == [("album-2/gone.wav",)]
    assert (found.seen, found.missing) == (0, 1)


def test_a_file_that_cannot_be_read_is_tried_again(database, root):
    (root / "album/0.wav").chmod(0)
    with bound_by_permissions():
        assert scan(database, root) == {"seen": 5, "new": 5}
    assert rows(database, "SELECT path FROM track WHERE audio_hash IS NULL") == [("album/0.wav",)]
    (root / "album/0.wav").chmod(0o644)
    assert scan(database, root) == {"seen": 5, "changed": 1}
    assert rows(database, "SELECT path FROM track WHERE audio_hash IS NULL") == []


def test_a_library_that_is_unplugged_loses_nothing(database, root):
    scan(database, root)
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError):
        scan_library(database, root)
    assert rows(database, "SELECT count(*) FROM track WHERE missing_since IS NULL") == [(5,)]


def test_a_root_of_an_odd_name(database, originals, tmp_path):
    folder = os.fsencode(tmp_path) + b"/m\\usic %s \xe9\n'"
    shutil.copytree(originals, os.fsdecode(folder))
    library_id = scan_library(database, Path(os.fsdecode(folder))).library_id
    assert scan(database, Path(os.fsdecode(folder))) == {"seen": 5}
    job = claim(database, put_job(database, plan(database, library_id)))
    assert {track.root for track in job.tracks} == {folder}
    record(database, outcomes(database, job))
    shown = rows(database, "SELECT path FROM track_genre WHERE rank = 1")
    assert {path_bytes(row[0]) for row in shown} == {folder + b"/" + track.path for track in job.tracks}


def test_more_files_than_a_transaction_holds(database, tmp_path):
    for index in range(MAX_BATCH + 1):
        (tmp_path / f"{index}.mp3").touch()
    seen = []
    assert scan_library(database, tmp_path, on_progress=lambda so_far: seen.append(so_far.seen)).new == MAX_BATCH + 1
    assert seen[-1] == MAX_BATCH + 1
    assert max(b - a for a, b in itertools.pairwise([0, *seen])) <= MAX_BATCH
    assert rows(database, "SELECT count(*) FROM track") == [(MAX_BATCH + 1,)]


VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    """This thread, and those it starts, may open only what the files' modes allow, even if they are root's."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(VERSION_3, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    assert libc.capget(header, held) == 0
    bound = (ctypes.c_uint32 * 6)(*held)
    bound[0] &= ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH) & 0xFFFFFFFF
    assert libc.capset(header, bound) == 0
    try:
        yield
    finally:
        assert libc.capset(header, held) == 0


def test_two_scans_at_once_enter_each_file_once(database, root):
    with ThreadPoolExecutor(4) as pool:
        scans = list(pool.map(lambda _: scan_library(database, root), range(4)))
    assert sum(scan.new for scan in scans) == 5
    assert rows(database, "SELECT count(*), count(missing_since) FROM track") == [(5, 0)]
