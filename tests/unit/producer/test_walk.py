"""Which files a library has."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from producer.walk import Found, Unreadable, walk


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))


def paths(root: Path, exclude=()) -> list[bytes]:
    return [entry.path for entry in walk(root, exclude) if isinstance(entry, Found)]


def test_nested_folders_in_order_and_only_audio(tmp_path):
    make(tmp_path, "b/2.MP3", "b/1.flac", "a.ogg", "b/c/d/e.m4a", "cover.jpg", "b/notes.txt", "mp3", "x.mp3.part")
    assert paths(tmp_path) == [b"a.ogg", b"b/1.flac", b"b/2.MP3", b"b/c/d/e.m4a"]


def test_hidden_and_system_files_are_left_out(tmp_path):
    make(tmp_path, ".hidden.mp3", ".git/a.mp3", "._a.mp3", "@eaDir/a.mp3", "$RECYCLE.BIN/a.mp3", "good.mp3")
    assert paths(tmp_path) == [b"good.mp3"]


def test_what_is_excluded(tmp_path):
    make(tmp_path, "Podcasts/a.mp3", "music/b.mp3", "music/live/c.mp3", "music/d.wav")
    assert paths(tmp_path, ["Podcasts", "*.wav", "music/live"]) == [b"music/b.mp3"]


def test_size_and_time(tmp_path):
    make(tmp_path, "a.mp3")
    os.utime(tmp_path / "a.mp3", ns=(1, 1_234_567_890_123_456_789))
    assert list(walk(tmp_path)) == [Found(b"a.mp3", 5, 1_234_567_890_123_456_789)]


def test_links_are_not_followed(tmp_path):
    root = tmp_path / "library"
    make(root, "a.mp3", "sub/b.mp3")
    make(tmp_path, "outside/c.mp3")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "c.mp3").symlink_to(tmp_path / "outside" / "c.mp3")
    (root / "sub" / "loop").symlink_to(root)
    (root / "again.mp3").symlink_to(root / "a.mp3")
    (root / "dangling.mp3").symlink_to(root / "nothing.mp3")
    (tmp_path / "link").symlink_to(root)
    assert paths(root) == paths(tmp_path / "link") == [b"a.mp3", b"sub/b.mp3"]


def test_names_of_any_bytes(tmp_path):
    names = [b"caf\xe9.mp3", "日本.mp3".encode(), b"new\nline.mp3", b"back\\slash.mp3", b"'\"%.mp3"]
    for name in names:
        with open(os.fsencode(tmp_path) + b"/" + name, "w"):  # noqa: PTH123 (a Path would do, a plain name says more)
            pass
    assert sorted(paths(tmp_path)) == sorted(names)


def test_only_files_are_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "folder.mp3").mkdir()
    make(tmp_path, "folder.mp3/a.mp3")
    assert paths(tmp_path) == [b"folder.mp3/a.mp3"]


def test_an_unreadable_folder_is_told_and_the_rest_is_found(tmp_path):
    make(tmp_path, "a.mp3", "locked/b.mp3", "z/c.mp3")
    (tmp_path / "locked").chmod(0)
    code = (
        "import os, sys; from pathlib import Path; from producer.walk import walk\n"
        "os.getuid() or os.setuid(65534)\n"
        "print(*walk(Path(sys.argv[1])), sep='\\n')"
    )
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.owner() == tmp_path.owner() and folder != Path("/tmp"):
            folder.chmod(0o755)
    printed = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    (tmp_path / "locked").chmod(0o755)
    assert str(Unreadable(b"locked", "Permission denied")) in printed.stdout, printed.stderr
    assert "b'a.mp3'" in printed.stdout
    assert "b'z/c.mp3'" in printed.stdout


def test_a_folder_that_is_deleted_meanwhile_hides_no_other(tmp_path):
    make(tmp_path, "a/1.mp3", "b/2.mp3", "c/3.mp3")
    entries = walk(tmp_path)
    assert next(entries).path == b"a/1.mp3"
    shutil.rmtree(tmp_path / "b")
    assert [entry.path for entry in entries] == [b"c/3.mp3"]


def test_a_root_that_is_no_folder(tmp_path):
    make(tmp_path, "a.mp3")
    with pytest.raises(NotADirectoryError):
        list(walk(tmp_path / "a.mp3"))
    with pytest.raises(FileNotFoundError):
        list(walk(tmp_path / "none"))


def test_many_files_and_deep_folders(tmp_path):
    for folder in range(40):
        (tmp_path / f"{folder}").mkdir()
        for file in range(250):
            (tmp_path / f"{folder}" / f"{file}.mp3").touch()
    deep = tmp_path / "/".join(["d"] * 400)
    deep.mkdir(parents=True)
    (deep / "deep.mp3").touch()
    assert len(paths(tmp_path)) == 10_001
