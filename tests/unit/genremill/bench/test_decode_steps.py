"""`genremill bench --stage decode`: the arithmetic of steps, and small real runs."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.decoding import reference_decoders
from benchmarks.decoding.codecs import LAG, OWN_WAYS, cpu_s, displacement, measure, ways
from genremill.bench import decode_steps
from genremill.bench.decode_steps import STEPS, steps_of
from genremill.cli import app
from genremill.sample.long_track import compose_long
from settings import GenremillError
from tests.support import audio
from worker.decode.audio_file import Track
from worker.windowing import Cut

CUT = Cut(16_000, 47_872)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A track that has three regions, one that is shorter than that, and a file that is no audio."""
    folder = tmp_path_factory.mktemp("decode")
    compose_long(folder / "long.flac", 0, 40)
    compose_long(folder / "short.flac", 1, 7)
    (folder / "broken.mp3").write_bytes(b"no audio")
    return folder


def test_a_step_is_what_a_way_takes_more_than_the_one_before():
    steps = steps_of(np.array([1.0, 3.0, 8.0, 9.0, 16.0, 18.0, 20.0]))
    assert list(steps) == list(STEPS)
    assert [step.ms for step in steps.values()] == [1, 2, 5, 1, 7, 2, 2]
    assert [step.share for step in steps.values()] == [0.05, 0.1, 0.25, 0.05, 0.35, 0.1, 0.1]


def test_a_way_takes_no_longer_than_those_that_go_further():
    steps = steps_of(np.array([1.0, 3.0, 2.0, 5.0, 4.0, 4.5, 6.0]))
    assert [step.ms for step in steps.values()] == [1, 1, 0, 2, 0, 0.5, 1.5]
    assert sum(step.share for step in steps.values()) == pytest.approx(1)


def test_files_are_counted_in_their_groups_and_one_that_fails_costs_itself(folder):
    files = [("flac", folder / "long.flac"), ("flac", folder / "short.flac"), ("flac", folder / "broken.mp3")]
    (row,) = decode_steps.measure(files, CUT, repeats=1)
    assert (row.group, row.reader, row.files, row.failed) == ("flac", "soundfile", 2, 1)
    assert row.total_ms == pytest.approx(sum(step.ms for step in row.steps.values()))
    assert row.steps["decode"].ms > 0 and row.steps["resample"].ms > 0


def test_beside_a_gpu_nothing_is_resampled_here(folder):
    (row,) = decode_steps.measure([("flac", folder / "long.flac")], replace(CUT, native=True), repeats=3)
    assert row.steps["decode"].ms > 0 and row.steps["resample"].ms < row.steps["decode"].ms / 4


@pytest.mark.parametrize("kind", ["flac", "wv"])
def test_what_is_decoded_is_not_mixed_yet(tmp_path, kind):
    left = audio.sweep(5, 16_000)
    path = audio.write(tmp_path / f"a.{kind}", np.stack([left, np.zeros_like(left)], axis=1), 16_000)
    with Track(os.fsencode(path), 8_000) as track:
        blocks = [part.T if kind == "flac" else part[0].to_ndarray() for part in track.reader.decoded(0, None)]
    left, right = np.concatenate(blocks, axis=1)
    assert left.any() and not right.any()


def test_the_child_is_among_what_is_counted(folder):
    pool = decode_steps._Pool(CUT)
    try:
        pool.read(folder / "long.flac")
        assert len(decode_steps._clocks_of_children()) >= 1
    finally:
        pool.close()


def test_files_that_all_fail_are_an_error_that_says_why(folder):
    with pytest.raises(GenremillError, match=r"none of 1 files can be decoded: broken\.mp3: no decoder can read it"):
        decode_steps.measure([(".mp3", folder / "broken.mp3")], CUT, repeats=1)


def test_the_command_gives_json_by_suffix(data_dir, folder, monkeypatch):
    for name in ("OMP", "MKL", "OPENBLAS"):
        monkeypatch.setenv(f"{name}_NUM_THREADS", "1")  # which the command sets, and the next test must not see
    result = CliRunner().invoke(app, ["bench", "--stage", "decode", str(folder), "--json"], catch_exceptions=False)
    report = json.loads(result.stdout)
    assert {"machine", "model", "decode"} == set(report)
    (row,) = report["decode"]
    assert (row["group"], row["files"], list(row["steps"])) == (".flac", 2, list(STEPS))
    assert set(row["steps"]["open"]) == {"ms", "share"}


def test_the_command_gives_a_table(data_dir, folder, monkeypatch):
    for name in ("OMP", "MKL", "OPENBLAS"):
        monkeypatch.setenv(f"{name}_NUM_THREADS", "1")
    result = CliRunner().invoke(app, ["bench", "--stage", "decode", str(folder)], catch_exceptions=False)
    assert ".flac" in result.stdout and result.stdout.count("%)") == len(STEPS)


def test_a_stage_that_there_is_not_is_named_with_those_that_there_are(data_dir):
    result = CliRunner().invoke(app, ["bench", "--stage", "encode"])
    assert isinstance(result.exception, GenremillError)
    assert "'encode'; there is decode" in str(result.exception)


def test_a_program_that_a_call_starts_is_counted():
    loop = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"]
    began_s = cpu_s()
    subprocess.run(loop, check=True)
    assert cpu_s() - began_s >= 0.2


def test_every_column_of_the_table_has_a_call(tmp_path):
    compose_long(tmp_path / "a.flac", 0, 40)
    spent_ms = measure({"flac": ways(tmp_path / "a.flac", 40, long=False)}, repeats=1)["flac"]
    assert {"librosa", "soundfile", "PyAV", *OWN_WAYS} == set(spent_ms)
    assert all(0 < ms < float("inf") for ms in spent_ms.values())


@pytest.mark.parametrize("program, name", [("/usr/bin/ffmpeg", "librosa"), (None, "librosa*")])
def test_without_the_ffmpeg_program_what_stands_in_for_librosa_has_a_star(tmp_path, monkeypatch, program, name):
    (tmp_path / "a.m4a").write_bytes(b"no audio")
    monkeypatch.setattr(reference_decoders.shutil, "which", lambda _: program)
    assert reference_decoders.whole(tmp_path / "a.m4a")[0] == name


@pytest.mark.parametrize("frames", [-3000, 0, 17])
def test_a_part_that_is_out_of_place_is_found_where_it_is(frames):
    whole = np.random.default_rng(0).normal(0, 0.1, 60_000).astype(np.float32)
    start, stop = 20_000, 40_000
    found, correlation = displacement(whole[start + frames : stop + frames], whole[start - LAG : stop + LAG])
    assert found == frames and correlation == pytest.approx(1)
