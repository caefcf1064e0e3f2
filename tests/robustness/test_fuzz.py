"""Broken files through real decode children: a small run of benchmarks/fuzz.py, and what it would call wrong."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import wait_until
from tests.robustness.fuzz import report, whole_files
from tests.robustness.harness import Case, Result, Watch, run
from tests.robustness.mutations import MUTATIONS, WRONG_SUFFIX, make
from worker.errors import DecoderCrashedError, TrackError, UndecodableError
from worker.windowing import Windowing

FILES = 120
CODECS = ("a.flac", "a.ogg", "vbr.mp3", "aac.m4a")
DIED = DecoderCrashedError("0 flips a.wav: the decoder died of it (exit status 1); look at the file")
MUSICNN = Windowing(16_000, 47_872)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """5 s of music in four codecs."""
    paths = whole_files(tmp_path_factory.mktemp("whole"), [("jazz", 5)])
    return [path for path in paths if path.name in CODECS]


@pytest.fixture(scope="module")
def result(whole, tmp_path_factory):
    """What came of all files."""
    files = (make(whole, 0, number) for number in range(FILES))
    return run(files, tmp_path_factory.mktemp("kept"), MUSICNN, children=2, deadline_s=10, memory_mib=512)


def case(tmp_path, longest_s=1e9):
    return Case(0, "flips", tmp_path / "0 flips a.wav", MUSICNN.window, longest_s, lambda _: None)


class Block:
    """Windows of a given shape and type."""

    def __init__(self, shape, dtype):
        self.pcm, self.native, self.windows = np.zeros(shape, dtype), None, shape[0]

    def release(self):
        pass


def test_every_broken_file_costs_itself_only(result):
    assert len(result.cases) == FILES
    assert result.wrongs() == []


def test_files_that_are_not_broken_are_done_whatever_their_name(result):
    assert {case.outcome for case in result.cases if case.mutation == WRONG_SUFFIX} == {"done"}


def test_files_without_audio_fail(result):
    without = [case for case in result.cases if case.mutation in ("random bytes", "text", "empty", "stub")]
    assert "done" not in {case.outcome for case in without}


def test_children_are_seen_from_outside(result):
    assert result.children >= 2
    assert result.private_mib > 1


def test_a_child_that_dies_is_seen(processes):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "worker.decode.child"])
    processes.append(child)
    watch = Watch()
    wait_until(lambda: child.pid in watch.seen)
    assert child.pid not in watch.gone
    child.kill()
    child.wait()
    wait_until(lambda: child.pid in watch.gone)
    watch.stop()


def test_the_report_counts_every_file(result):
    done = sum(case.outcome == "done" for case in result.cases)
    last = next(line for line in report(result).splitlines() if line.startswith("all"))
    assert last.split()[1] == str(done)
    assert sum(int(count) for count in last.split()[1:]) == FILES


def test_a_file_can_be_made_again(whole):
    for number in range(len(MUTATIONS)):
        assert bytes(make(whole, 3, number).data) == bytes(make(whole, 3, number).data)


def test_another_seed_breaks_differently(whole):
    assert bytes(make(whole, 3, 0).data) != bytes(make(whole, 4, 0).data)


@pytest.mark.parametrize(("shape", "dtype"), [((1, 5), np.int16), ((0, 47_872), np.int16), ((1, 47_872), np.float32)])
def test_windows_of_another_kind_are_wrong(tmp_path, shape, dtype):
    seen = case(tmp_path)
    seen.windows(Block(shape, dtype))
    assert len(seen.wrong) == 1


def test_a_second_end_is_wrong(tmp_path):
    seen = case(tmp_path)
    seen.windows(Block((1, 47_872), np.int16))
    seen.end()
    assert not seen.wrong
    seen.failed(UndecodableError("0 flips a.wav: no"))
    assert len(seen.wrong) == 1


def test_an_answer_that_takes_too_long_is_wrong(tmp_path):
    seen = case(tmp_path, longest_s=-1)
    seen.windows(Block((1, 47_872), np.int16))
    assert len(seen.wrong) == 1


@pytest.mark.parametrize(
    "error", [TrackError("0 flips a.wav: no"), UndecodableError("no"), UndecodableError("0 flips a.wav:\n"), DIED]
)
def test_an_error_that_is_not_one_coded_line_about_the_file_or_was_not_caught_is_wrong(tmp_path, error):
    seen = case(tmp_path)
    seen.failed(error)
    assert len(seen.wrong) == 1


@pytest.mark.parametrize("change", [{"deaths": 1}, {"survivors": 1}, {"private_mib": 600.0}])
def test_what_children_must_not_do_is_wrong(change):
    assert len(replace(Result([], 2, 0, 0, 20.0, 512, 1.0), **change).wrongs()) == 1


def test_a_file_that_never_ends_is_wrong(tmp_path):
    assert Result([case(tmp_path)], 2, 0, 0, 20.0, 512, 1.0).wrongs() == ["0 flips a.wav: never ended"]
