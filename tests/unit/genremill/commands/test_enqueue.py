"""`genremill enqueue` without Redis: what it refuses, and its dry run."""

import json

import pytest
from typer.testing import CliRunner

from genremill.cli import app


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music [1]"
    (folder / "album").mkdir(parents=True)
    for name in ("a.mp3", "album/b.flac", "album/c.ogg", "cover.jpg"):
        (folder / name).write_bytes(b"something")
    return folder


def test_a_dry_run_counts_the_audio_files_and_writes_nothing(data_dir, music):
    result = CliRunner().invoke(app, ["enqueue", "--dry-run", str(music)])
    assert (result.exit_code, result.stdout) == (0, f"{music}: 3 audio files\n")
    assert not data_dir.exists()


def test_a_dry_run_leaves_out_what_is_excluded(data_dir, music):
    result = CliRunner().invoke(app, ["enqueue", "--dry-run", "--json", str(music), "--exclude", "*.ogg"])
    assert json.loads(result.stdout) == {str(music): 2}
    arguments = ["enqueue", "--dry-run", "--json", str(music), "--exclude", "*.ogg", "--exclude", "album"]
    assert json.loads(CliRunner().invoke(app, arguments).stdout) == {str(music): 1}


def test_a_queue_that_does_not_exist_is_named(data_dir, music):
    result = CliRunner().invoke(app, ["enqueue", "--queue", "slow", str(music)])
    assert str(result.exception) == "there is no queue 'slow': use fast or bulk"
