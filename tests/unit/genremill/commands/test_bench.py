"""`genremill bench` as a whole, on the CPU and few files."""

import json

import pytest
from typer.testing import CliRunner

from genremill.cli import app
from genremill.sample.long_track import write_long_track
from tests.support.png import is_png

pytestmark = pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")  # of audioread's imports


def test_the_command_gives_json_and_a_picture(data_dir, tmp_path):
    music, png = tmp_path / "music", tmp_path / "bench.png"
    for seed in range(2):
        write_long_track(music / f"{seed}.mp3", seed, 7)
    result = CliRunner().invoke(app, ["bench", str(music), "--device", "cpu", "--json", "--plot", str(png)])
    report = json.loads(result.stdout)
    assert {"machine", "model", "weights", "batches", "files"} == set(report)
    assert report["machine"]["gpu"] is None
    assert report["machine"]["cores"] >= 1
    batches = [point["batch"] for point in report["batches"][0]["points"]]
    assert batches == [1 << exponent for exponent in range(len(batches))]
    assert [(row["files"], row["way"]) for row in report["files"]] == [
        (1, "genremill"), (1, "naive"), (2, "genremill"), (2, "naive")
    ]  # fmt: skip
    assert all(row["failed"] == 0 for row in report["files"])
    assert is_png(png)


def test_the_command_prints_tables(data_dir, tmp_path):
    write_long_track(tmp_path / "music" / "0.mp3", 0, 7)
    result = CliRunner().invoke(app, ["bench", str(tmp_path / "music"), "--device", "cpu"])
    assert "Batches: CPU, fp32, one core" in result.stdout
    assert "genremill, CPU fp32" in result.stdout
    assert "its rate is that of 1 files" in " ".join(result.stdout.split())


def test_a_folder_without_audio_is_named(data_dir, tmp_path):
    result = CliRunner().invoke(app, ["bench", str(tmp_path)])
    assert f"{tmp_path} has no audio files" in str(result.exception)
